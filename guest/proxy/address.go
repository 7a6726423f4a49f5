package proxy

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

const (
	// friendlySize is the size of a user-friendly address: flags, workchain, hash and checksum.
	friendlySize = 36
	// bounceable and friendly are the two flags bytes of such an address, testOnly is added to either.
	bounceableFlag, friendlyFlag, testOnlyFlag = 0x11, 0x51, 0x80
)

// Address is a contract's: compared parsed, never as text (protocol.md section 14).
type Address struct {
	Workchain int8
	Hash      [32]byte
}

// ParseAddress reads the raw form, workchain:hash, or any user-friendly form.
func ParseAddress(text string) (Address, error) {
	var a Address
	if chain, hash, ok := strings.Cut(text, ":"); ok {
		n, err := strconv.ParseInt(chain, 10, 8)
		raw, hexErr := hex.DecodeString(hash)
		if err != nil || hexErr != nil || len(raw) != len(a.Hash) {
			return a, errors.New("reading address: not workchain:hash")
		}
		a.Workchain = int8(n)
		copy(a.Hash[:], raw)
		return a, nil
	}
	raw, err := base64.URLEncoding.Strict().DecodeString(strings.NewReplacer("+", "-", "/", "_").Replace(text))
	if err != nil || len(raw) != friendlySize {
		return a, errors.New("reading address: neither the raw nor the user-friendly form")
	}
	if flags := raw[0] &^ testOnlyFlag; flags != bounceableFlag && flags != friendlyFlag {
		return a, fmt.Errorf("reading address: unknown flags %02x", raw[0])
	}
	if crc16(raw[:friendlySize-2]) != uint16(raw[friendlySize-2])<<8|uint16(raw[friendlySize-1]) {
		return a, errors.New("reading address: wrong checksum")
	}
	a.Workchain = int8(raw[1]) //nolint:gosec // a signed byte
	copy(a.Hash[:], raw[2:])
	return a, nil
}

// String is the raw form: what documents and the ledger name a contract by.
func (a Address) String() string {
	const longest = len("-128:") + 2*len(a.Hash)
	return string(a.appendTo(make([]byte, 0, longest)))
}

func (a Address) appendTo(dst []byte) []byte {
	return hex.AppendEncode(append(strconv.AppendInt(dst, int64(a.Workchain), 10), ':'), a.Hash[:])
}

// Friendly is the url-safe non-bounceable form that the network's messages use.
func (a Address) Friendly(testnet bool) string {
	flags := byte(friendlyFlag)
	if testnet {
		flags |= testOnlyFlag
	}
	raw := append([]byte{flags, byte(a.Workchain)}, a.Hash[:]...) //nolint:gosec // a signed byte
	sum := crc16(raw)
	return base64.URLEncoding.EncodeToString(binary.BigEndian.AppendUint16(raw, sum))
}

// crc16 is CRC-16/XMODEM, the checksum of user-friendly addresses.
func crc16(data []byte) (crc uint16) {
	for _, b := range data {
		crc ^= uint16(b) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}
