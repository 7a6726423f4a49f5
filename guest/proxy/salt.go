package proxy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
)

const (
	saltPurpose = "cocoon/cache-salt/v1"
	// routedFrom is the shortest prompt that is kept near its like, routedBytes how much of it tells its like
	// (inference.md section 11).
	routedFrom  = 4096
	routedBytes = 1024
)

// cacheSalt separates the callers' prompt caches in the engine (inference.md section 11). The length prefixes stop one
// pair from looking like another. Without a client there is no salt.
func cacheSalt(clientSC, secret string) string {
	if clientSC == "" {
		return ""
	}
	const usual = 256 // bytes of all parts
	said := appendPart(append(make([]byte, 0, usual), saltPurpose...), clientSC)
	if secret != "" {
		said = appendPart(said, secret)
	}
	sum := sha256.Sum256(said)
	return string(base64.RawURLEncoding.AppendEncode(make([]byte, 0, 2*sha256.Size), sum[:]))
}

// appendPart appends a text behind its length.
func appendPart(dst []byte, text string) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(text))), text...) //nolint:gosec // below the frame limit
}

// routeKey is what requests with a common beginning share: keyed, so that nobody outside can tell what it stands for.
func (p *Proxy) routeKey(clientSC, secret string, prompt []byte) string {
	if len(prompt) < routedFrom {
		return ""
	}
	mac := hmac.New(sha256.New, p.routing[:])
	for _, part := range [][]byte{[]byte(clientSC), []byte(secret), prompt[:routedBytes]} {
		_, _ = mac.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part)))) //nolint:gosec // below the frame limit
		_, _ = mac.Write(part)
	}
	return hex.EncodeToString(mac.Sum(nil))
}
