package engine

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
)

const (
	// maxFields is how many headers an answer may have, and trailers.
	maxFields = 256
	// maxTrailer bounds one trailer.
	maxTrailer = 4 << 10
)

// errAnswer is what every error about the form of an answer wraps.
var errAnswer = errors.New("the engine's answer is no HTTP/1.1")

func malformed(what string) error { return fmt.Errorf("%w: %s", errAnswer, what) }

// head is the head of an answer (RFC 9112 sections 4 to 7), as far as somebody asks for it.
type head struct {
	status int
	// size is the announced size of the body, -1 without one.
	size    int64
	chunked bool
	// last says that nothing follows on the connection.
	last bool
	// kind and encoding are the first Content-Type, without parameters and in lower case, and Content-Encoding.
	kind, encoding string
	// old is HTTP/1.0; the others say that there is a Content-Length, a Content-Type and a Content-Encoding.
	old, sized, typed, coded bool
	fields                   int
}

// readHead reads the head of an answer. rest, when not nil, gets all headers.
func readHead(in *bufio.Reader, rest http.Header) (head, error) {
	h := head{size: -1}
	line, err := readLine(in)
	if err != nil {
		return h, err
	}
	if err := h.statusLine(line); err != nil {
		return h, err
	}
	for {
		line, err := readLine(in)
		switch {
		case err != nil:
			return h, err
		case len(line) == 0:
			return h, h.framing()
		}
		name, value, err := field(line)
		if err != nil {
			return h, err
		}
		if h.fields++; h.fields > maxFields {
			return h, malformed("too many headers")
		}
		if rest != nil {
			rest.Add(string(name), string(value))
		}
		if err := h.note(name, value); err != nil {
			return h, err
		}
	}
}

// readLine reads a line of a head without its end.
func readLine(in *bufio.Reader) ([]byte, error) {
	line, err := lineOf(in, maxHeader)
	return bytes.TrimSuffix(line, []byte("\r")), err
}

// lineOf reads up to a line feed, which must come soon after most bytes. It is valid until the next read.
func lineOf(in *bufio.Reader, most int) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		long := bytes.Clone(line)
		for errors.Is(err, bufio.ErrBufferFull) {
			if len(long) > most {
				return nil, malformed("a line that is too long")
			}
			line, err = in.ReadSlice('\n')
			long = append(long, line...)
		}
		line = long
	}
	if errors.Is(err, io.EOF) {
		return nil, io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	return line[:len(line)-1], nil
}

// statusLine reads "HTTP/1.1 200 OK".
func (h *head) statusLine(line []byte) error {
	const version, digits = "HTTP/1.", 3
	at := len(version) + len("1 ")
	if len(line) < at+digits || string(line[:len(version)]) != version || line[at-1] != ' ' || len(line) > at+digits && line[at+digits] != ' ' {
		return malformed("a status line")
	}
	minor := line[len(version)]
	status, err := strconv.ParseUint(string(line[at:at+digits]), 10, 16)
	if err != nil || status < 100 || minor != '0' && minor != '1' {
		return malformed("a status line")
	}
	h.status, h.old = int(status), minor == '0'
	return nil
}

// field cuts a header. Lines that go on with the one before are obsolete and refused.
func field(line []byte) (name, value []byte, err error) {
	colon := bytes.IndexByte(line, ':')
	if colon < 1 {
		return nil, nil, malformed("a header without a name")
	}
	name, value = line[:colon], bytes.Trim(line[colon+1:], " \t")
	for _, c := range name {
		if !token(c) {
			return nil, nil, malformed("a header's name")
		}
	}
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return nil, nil, malformed("a header's value")
		}
	}
	return name, value, nil
}

// token says that a character may stand in a name (RFC 9110 section 5.6.2).
func token(c byte) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return true
	}
	return strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// note reads a header that says how the answer goes on or what it is.
func (h *head) note(name, value []byte) error {
	switch {
	case bytes.EqualFold(name, []byte("Content-Length")):
		n, err := strconv.ParseUint(string(value), 10, 63)
		if err != nil || h.sized && h.size != int64(n) {
			return malformed("Content-Length")
		}
		h.size, h.sized = int64(n), true
	case bytes.EqualFold(name, []byte("Transfer-Encoding")):
		if h.chunked || !bytes.EqualFold(value, []byte("chunked")) {
			return malformed("Transfer-Encoding")
		}
		h.chunked = true
	case bytes.EqualFold(name, []byte("Connection")):
		for word := range bytes.SplitSeq(value, []byte(",")) {
			if bytes.EqualFold(bytes.TrimSpace(word), []byte("close")) {
				h.last = true
			}
		}
	case bytes.EqualFold(name, []byte("Content-Type")) && !h.typed:
		kind, _, _ := bytes.Cut(value, []byte(";"))
		h.kind, h.typed = kindOf(bytes.TrimSpace(kind)), true
	case bytes.EqualFold(name, []byte("Content-Encoding")) && !h.coded:
		h.encoding, h.coded = string(value), true
	}
	return nil
}

// kindOf is a media type in lower case. The two that engines answer with take no memory.
func kindOf(name []byte) string {
	switch string(name) {
	case "application/json":
		return "application/json"
	case "text/event-stream":
		return "text/event-stream"
	}
	return strings.ToLower(string(name))
}

// framing decides where the body ends. An answer that says it in two ways is none.
func (h *head) framing() error {
	switch {
	case h.chunked && (h.sized || h.old):
		return malformed("Transfer-Encoding beside Content-Length, or in HTTP/1.0")
	case h.status < http.StatusOK || h.status == http.StatusNoContent || h.status == http.StatusNotModified:
		h.last = h.last || h.chunked || h.size > 0 // it announces a body that it cannot have, and may send one
		h.size, h.chunked = 0, false
	case !h.chunked && !h.sized: // the end of the connection ends it
		h.last = true
	}
	h.last = h.last || h.old || h.status == http.StatusSwitchingProtocols
	return nil
}

// body is the answer's body, which ends where it says itself.
func (h *head) body(in *bufio.Reader) body {
	b := body{in: in, left: h.size}
	if h.chunked {
		b.chunks = httputil.NewChunkedReader(in)
	}
	return b
}

// body reads a body up to its own end.
type body struct {
	in *bufio.Reader
	// chunks is set where it comes in chunks, which have a trailer behind them.
	chunks io.Reader
	// left is what is left of an announced size, -1 without one.
	left int64
	err  error
}

// Read reads the body.
func (b *body) Read(p []byte) (n int, err error) {
	switch {
	case b.err != nil:
		return 0, b.err
	case b.chunks != nil:
		if n, err = b.chunks.Read(p); errors.Is(err, io.EOF) {
			err = b.trailer()
		}
	case b.left < 0: // the end of the connection ends it
		n, err = b.in.Read(p)
	case b.left > 0:
		n, err = b.in.Read(p[:min(int64(len(p)), b.left)])
		if b.left -= int64(n); errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
	}
	if b.chunks == nil && b.left == 0 {
		err = io.EOF
	}
	b.err = err
	return n, err
}

// trailer reads what follows the last chunk, of which nobody wants anything. Its lines end in both characters: others would
// look for its end elsewhere.
func (b *body) trailer() error {
	for range maxFields {
		line, err := lineOf(b.in, maxTrailer)
		if err != nil {
			return err
		}
		line, whole := bytes.CutSuffix(line, []byte("\r"))
		switch {
		case whole && len(line) == 0:
			return io.EOF
		case !whole || len(line) > maxTrailer:
			return malformed("a trailer")
		}
		if _, _, err := field(line); err != nil {
			return err
		}
	}
	return malformed("too many trailers")
}
