package cert

import (
	"encoding/binary"
	"fmt"
)

// Claims layout (attestation.md section 15); integers are little-endian.
const (
	// ClaimsSize is the size of encoded claims.
	ClaimsSize = 116

	claimsTag      = 0xfcebf1d7 // u32 constructor
	offRole        = 4
	offNetwork     = 8
	offSeqno       = 12
	offRootHash    = 16
	offNotBefore   = 48
	offNotAfter    = 56
	offWorkchain   = 64
	offAddress     = 68
	offClaimsNonce = 100
)

// Role is what a node of the network does.
type Role int32

// The roles (attestation.md section 15).
const (
	RoleClient Role = iota
	RoleProxy
	RoleWorker
	RoleKeyManager
	RoleTool
)

// String is the role's name.
func (r Role) String() string {
	names := [...]string{"client", "proxy", "worker", "key manager", "tool"}
	if r < 0 || int(r) >= len(names) {
		return fmt.Sprintf("role %d", int32(r))
	}
	return names[r]
}

// Claims are what a certificate of wire profile v2 says beyond its key. The quote covers them.
type Claims struct {
	Role Role
	// NetworkID is the TON global id: -239 for the main network.
	NetworkID int32
	// Seqno and RootHash name the masterchain block that was the last one when the certificate was made.
	Seqno    int32
	RootHash [32]byte
	// NotBefore and NotAfter are the certificate's, in Unix seconds.
	NotBefore, NotAfter int64
	// Workchain and Address name the root contract; zero in local networks.
	Workchain int32
	Address   [32]byte
	Nonce     [16]byte
}

// ParseClaims reads claims of exactly ClaimsSize bytes.
func ParseClaims(data []byte) (Claims, error) {
	if len(data) != ClaimsSize {
		return Claims{}, fmt.Errorf("reading claims: %d bytes, want %d", len(data), ClaimsSize)
	}
	le := binary.LittleEndian
	if tag := le.Uint32(data); tag != claimsTag {
		return Claims{}, fmt.Errorf("reading claims: constructor is %#08x, want %#08x", tag, claimsTag)
	}
	i32 := func(at int) int32 { return int32(le.Uint32(data[at:])) } //nolint:gosec // the fields are signed
	i64 := func(at int) int64 { return int64(le.Uint64(data[at:])) } //nolint:gosec // the fields are signed
	c := Claims{
		Role: Role(i32(offRole)), NetworkID: i32(offNetwork), Seqno: i32(offSeqno), RootHash: [32]byte(data[offRootHash:]),
		NotBefore: i64(offNotBefore), NotAfter: i64(offNotAfter),
		Workchain: i32(offWorkchain), Address: [32]byte(data[offAddress:]), Nonce: [16]byte(data[offClaimsNonce:]),
	}
	if c.Seqno < 0 {
		return Claims{}, fmt.Errorf("reading claims: block %d has a negative number", c.Seqno)
	}
	return c, nil
}

// Append writes the claims as ParseClaims reads them.
func (c Claims) Append(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint32(dst, claimsTag)
	for _, v := range []int32{int32(c.Role), c.NetworkID, c.Seqno} {
		dst = le.AppendUint32(dst, uint32(v)) //nolint:gosec // the fields are signed
	}
	dst = append(dst, c.RootHash[:]...)
	dst = le.AppendUint64(dst, uint64(c.NotBefore)) //nolint:gosec // the field is signed
	dst = le.AppendUint64(dst, uint64(c.NotAfter))  //nolint:gosec // the field is signed
	dst = le.AppendUint32(dst, uint32(c.Workchain)) //nolint:gosec // the field is signed
	dst = append(dst, c.Address[:]...)
	return append(dst, c.Nonce[:]...)
}
