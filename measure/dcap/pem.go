package dcap

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
)

// The exact form of Intel's PEM: 64 characters a line, line feeds, nothing between blocks.
const (
	pemBegin = "-----BEGIN CERTIFICATE-----\n"
	pemEnd   = "-----END CERTIFICATE-----"
	pemLine  = 64

	// maxCertificate bounds one certificate; a PCK certificate has 1.3 kB.
	maxCertificate = 8 << 10
)

// pemChain reads exactly want certificates in their exact form.
func pemChain(text []byte, want int) ([][]byte, error) {
	out, err := pemBodies(text, want)
	if err != nil {
		return nil, err
	}
	for i := range out {
		if out[i], err = pemDecode(out[i]); err != nil {
			return nil, fmt.Errorf("certificate %d of %d: %w", i+1, want, err)
		}
	}
	return out, nil
}

// pemBodies cuts a text into what stands between the lines of exactly want certificates. After the last, a line feed and
// a NUL may follow, each or both: quoting services and caches differ there. Any other freedom would let one quote have
// many texts. It does not look into the bodies.
func pemBodies(text []byte, want int) ([][]byte, error) {
	out := make([][]byte, 0, want)
	for i := range want {
		body, rest, err := pemBlock(text)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of %d: %w", i+1, want, err)
		}
		out = append(out, body)
		last := i == want-1
		next, terminated := bytes.CutPrefix(rest, []byte("\n"))
		if !last && !terminated {
			return nil, fmt.Errorf("certificate %d of %d: no line feed after it", i+1, want)
		}
		text = next
	}
	if rest, _ := bytes.CutSuffix(text, []byte{0}); len(rest) != 0 {
		return nil, fmt.Errorf("%d bytes after certificate %d, the last", len(rest), want)
	}
	return out, nil
}

// pemBlock cuts one block off the front of text.
func pemBlock(text []byte) (body, rest []byte, err error) {
	text, ok := bytes.CutPrefix(text, []byte(pemBegin))
	if !ok {
		return nil, nil, errors.New("no BEGIN CERTIFICATE line")
	}
	body, rest, ok = bytes.Cut(text, []byte(pemEnd))
	switch {
	case !ok:
		return nil, nil, errors.New("no END CERTIFICATE line")
	case len(body) == 0 || len(body) > 2*maxCertificate:
		return nil, nil, fmt.Errorf("%d bytes of text", len(body))
	}
	return body, rest, nil
}

// pemDecode decodes a body: lines, all full but the last, and each ended by a line feed. So every certificate has one
// body, and bodies can be compared in place of certificates.
func pemDecode(body []byte) ([]byte, error) {
	var buf [3 << 10]byte // a PCK certificate's text has 1.8 kB
	text := buf[:0]
	for len(body) > 0 {
		n := min(pemLine, len(body)-1)
		if n == 0 || body[n] != '\n' {
			return nil, errLines
		}
		text, body = append(text, body[:n]...), body[n+1:]
	}
	if bytes.IndexByte(text, '\n') >= 0 || bytes.IndexByte(text, '\r') >= 0 {
		return nil, errLines // the decoder would pass over them
	}
	cert := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Strict().Decode(cert, text)
	if err != nil {
		return nil, err
	}
	return cert[:n:n], nil
}

var errLines = fmt.Errorf("lines are not of %d characters, each ended by a line feed", pemLine)

// pemEncode is the body that pemDecode reads as cert.
func pemEncode(cert []byte) []byte {
	text := base64.StdEncoding.EncodeToString(cert)
	out := make([]byte, 0, len(text)+len(text)/pemLine+1)
	for len(text) > 0 {
		n := min(len(text), pemLine)
		out = append(append(out, text[:n]...), '\n')
		text = text[n:]
	}
	return out
}

// pemAbove is what follows the body of a first certificate in a text of it and others, without a line feed at the end.
func pemAbove(bodies ...[]byte) []byte {
	out := []byte(pemEnd)
	for _, body := range bodies {
		out = append(append(append(out, "\n"+pemBegin...), body...), pemEnd...)
	}
	return out
}
