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

// pemChain reads exactly want certificates in their exact form. After the last, a line feed and a NUL may follow, each
// or both: quoting services and caches differ there. Any other freedom would let one quote have many texts.
func pemChain(text []byte, want int) ([][]byte, error) {
	out := make([][]byte, 0, want)
	for i := range want {
		cert, rest, err := pemBlock(text)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of %d: %w", i+1, want, err)
		}
		out = append(out, cert)
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

// pemBlock cuts one block off the front of text and decodes it.
func pemBlock(text []byte) (cert, rest []byte, err error) {
	text, ok := bytes.CutPrefix(text, []byte(pemBegin))
	if !ok {
		return nil, nil, errors.New("no BEGIN CERTIFICATE line")
	}
	body, rest, ok := bytes.Cut(text, []byte(pemEnd))
	switch {
	case !ok:
		return nil, nil, errors.New("no END CERTIFICATE line")
	case len(body) == 0 || len(body) > 2*maxCertificate:
		return nil, nil, fmt.Errorf("%d bytes of text", len(body))
	case bytes.IndexByte(body, '\r') >= 0: // which the decoder would pass over
		return nil, nil, errors.New("a carriage return")
	}
	cert, err = pemBody(body)
	return cert, rest, err
}

// pemBody decodes lines, all full but the last, and each ended by a line feed.
func pemBody(body []byte) ([]byte, error) {
	strict := base64.StdEncoding.Strict()
	cert := make([]byte, base64.StdEncoding.DecodedLen(len(body)))
	size := 0
	for len(body) > 0 {
		line, rest, ended := bytes.Cut(body, []byte("\n"))
		if !ended || len(line) == 0 || len(line) > pemLine || (len(line) < pemLine && len(rest) > 0) {
			return nil, fmt.Errorf("lines are not of %d characters", pemLine)
		}
		n, err := strict.Decode(cert[size:], line)
		if err != nil {
			return nil, err
		}
		if n < pemLine/4*3 && len(rest) > 0 {
			return nil, errors.New("padding inside the text")
		}
		size += n
		body = rest
	}
	return cert[:size:size], nil
}
