package engine

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// parse reads an answer as a link does.
func parse(raw string, size int) (head, string, error) {
	return parseFrom(bufio.NewReaderSize(strings.NewReader(raw), size))
}

func parseFrom(in *bufio.Reader) (head, string, error) {
	h, err := readHead(in, nil)
	if err != nil {
		return h, "", err
	}
	b := h.body(in)
	body, err := io.ReadAll(&b)
	return h, string(body), err
}

// TestAnswers: each form of an answer has its body, and what is behind it belongs to it only if nothing says where it ends.
func TestAnswers(t *testing.T) {
	const behind = "HTTP/1.1 200 OK\r\n\r\n"
	for name, tc := range map[string]struct {
		raw, body, kind string
		last            bool
	}{
		"sized":              {raw: "HTTP/1.1 200 OK\r\nContent-Type: Text/HTML; charset=x\r\ncontent-length:3\r\n\r\nabc" + behind, body: "abc", kind: "text/html"},
		"sized twice":        {raw: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na" + behind, body: "a"},
		"empty":              {raw: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + behind},
		"chunked":            {raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\nT: u\r\n\r\n" + behind, body: "abc"},
		"no chunks":          {raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + behind},
		"until the end":      {raw: "HTTP/1.1 200\r\n\r\nabc", body: "abc", last: true},
		"to be closed":       {raw: "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 1\r\n\r\na", body: "a", last: true},
		"old":                {raw: "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na", body: "a", last: true},
		"no content":         {raw: "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n" + behind},
		"no content, a size": {raw: "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n" + behind, last: true},
		"no content, chunks": {raw: "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", last: true},
		"bare line ends":     {raw: "HTTP/1.1 200 OK\nContent-Length: 1\n\na" + behind, body: "a"},
		"the first type":     {raw: "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Type: c/d\r\nContent-Length: 0\r\n\r\n", kind: "a/b"},
		"an empty type":      {raw: "HTTP/1.1 200 OK\r\nContent-Type:\r\nContent-Type: c/d\r\nContent-Length: 0\r\n\r\n"},
		"a long reason":      {raw: "HTTP/1.1 200 " + strings.Repeat("x", 5000) + "\r\nContent-Length: 1\r\n\r\na", body: "a"},
		"a long value":       {raw: "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 9000) + "\r\nContent-Length: 1\r\n\r\na", body: "a"},
		"switches protocols": {raw: "HTTP/1.1 101 x\r\n\r\n", last: true},
	} {
		for _, size := range []int{16, 4096} {
			h, body, err := parse(tc.raw, size)
			if err != nil || body != tc.body || h.kind != tc.kind || h.last != tc.last {
				t.Errorf("%s: %q of type %q, last %t, %v", name, body, h.kind, h.last, err)
			}
		}
	}
}

// TestWhatIsNoAnswer: what others could read differently is refused.
func TestWhatIsNoAnswer(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for name, raw := range map[string]string{
		"nothing":                "",
		"another version":        "HTTP/2.0 200 OK\r\n\r\n",
		"a future version":       "HTTP/1.2 200 OK\r\n\r\n",
		"no status":              "HTTP/1.1 OK\r\n\r\n",
		"a short status":         "HTTP/1.1 20\r\n\r\n",
		"a small status":         "HTTP/1.1 099 OK\r\n\r\n",
		"a long status":          "HTTP/1.1 2000 OK\r\n\r\n",
		"a signed status":        "HTTP/1.1 +20 OK\r\n\r\n",
		"an end in the head":     ok + "Content-Length: 1\r\n",
		"an end in the body":     ok + "Content-Length: 2\r\n\r\na",
		"an end in a chunk":      ok + "Transfer-Encoding: chunked\r\n\r\n5\r\na",
		"an end between chunks":  ok + "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
		"an end in the trailer":  ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n",
		"a trailer of no form":   ok + "Transfer-Encoding: chunked\r\n\r\n0\r\nx\r\n\r\n",
		"a long trailer":         ok + "Transfer-Encoding: chunked\r\n\r\n0\r\nx:" + strings.Repeat("x", 5000) + "\r\n\r\n",
		"a bare trailer's end":   ok + "Transfer-Encoding: chunked\r\n\r\n0\r\nx: y\r\n\n",
		"a bare trailer":         ok + "Transfer-Encoding: chunked\r\n\r\n0\r\nx: y\n\r\n",
		"trailers without end":   ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("x:y\r\n", 300) + "\r\n",
		"headers without end":    ok + strings.Repeat("x:y\r\n", 300) + "\r\n",
		"two sizes":              ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"a signed size":          ok + "Content-Length: +1\r\n\r\na",
		"a list of sizes":        ok + "Content-Length: 1, 1\r\n\r\na",
		"a huge size":            ok + "Content-Length: 9223372036854775808\r\n\r\na",
		"no size":                ok + "Content-Length:\r\n\r\na",
		"chunks and a size":      ok + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunks twice":           ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"another encoding":       ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"chunks of old":          "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"a line that goes on":    ok + "X: y\r\n z\r\n\r\n",
		"a space in a name":      ok + "X : y\r\n\r\n",
		"no name":                ok + ": y\r\n\r\n",
		"no colon":               ok + "X\r\n\r\n",
		"a control character":    ok + "X: y\x00\r\n\r\n",
		"a carriage return":      ok + "X: y\rz\r\n\r\n",
		"a chunk of no form":     ok + "Transfer-Encoding: chunked\r\n\r\nx\r\n",
		"a chunk that is longer": ok + "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
	} {
		if h, body, err := parse(raw, 4096); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: %d %q, %v", name, h.status, body, err)
		}
	}
}

// endless is a line without an end, which counts what was read of it.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	return copy(p, bytes.Repeat([]byte("x"), len(p))), nil
}

// TestNoLineIsReadForEver: neither a header's nor a trailer's end is waited for beyond its bound, whatever bounds the
// connection has.
func TestNoLineIsReadForEver(t *testing.T) {
	for name, start := range map[string]string{
		"status line": "HTTP/1.1 200 ", "header": "HTTP/1.1 200 OK\r\nX: ", "chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;",
		"trailer": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ",
	} {
		var more endless
		in := bufio.NewReaderSize(io.MultiReader(strings.NewReader(start), io.LimitReader(&more, 1<<30)), linkBuffer)
		h, err := readHead(in, nil)
		if err == nil {
			b := h.body(in)
			_, err = io.ReadAll(&b)
		}
		if err == nil || errors.Is(err, io.ErrUnexpectedEOF) || more.read > maxHeader+2*linkBuffer {
			t.Errorf("%s: %v after %d bytes", name, err, more.read)
		}
	}
}

// TestAllHeaders: where they are wanted, they are there under their usual names.
func TestAllHeaders(t *testing.T) {
	rest := http.Header{}
	in := bufio.NewReader(strings.NewReader("HTTP/1.1 200 OK\r\nx-a:  1 \r\nX-A: 2\r\ncontent-length: 0\r\n\r\n"))
	if _, err := readHead(in, rest); err != nil {
		t.Fatal(err)
	}
	if strings.Join(rest["X-A"], ",") != "1,2" || rest.Get("Content-Length") != "0" {
		t.Errorf("%v", rest)
	}
}

// FuzzAnswer: what is accepted is what the standard library makes of it, and ends where it ends there.
func FuzzAnswer(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 3\r\n\r\nabcd", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\nz",
		"HTTP/1.0 404 Not Found\nConnection: close\n\nabc", "HTTP/1.1 204 \r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nConnection: keep-alive, close\r\nContent-Encoding: gzip\r\n\r\n", "HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		in := bufio.NewReaderSize(bytes.NewReader(raw), 64)
		h, body, err := parseFrom(in)
		if errors.Is(err, errAnswer) || h.status == 0 || bytes.Contains(bytes.ToLower(raw), []byte("trailer")) { // which the library looks into
			return
		}
		std := bufio.NewReaderSize(bytes.NewReader(raw), 4096+len(raw)) // it refuses trailers that are larger
		res, stdErr := http.ReadResponse(std, &http.Request{Method: http.MethodPost})
		if stdErr != nil {
			if err == nil {
				t.Fatalf("%q: the standard library refuses it: %v", raw, stdErr)
			}
			return
		}
		stdBody, stdErr := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if (err == nil) != (stdErr == nil) {
			t.Fatalf("%q: %v, the standard library says %v", raw, err, stdErr)
		}
		if err != nil {
			return
		}
		kind, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
		if h.status != res.StatusCode || body != string(stdBody) || h.kind != strings.ToLower(strings.TrimSpace(kind)) || h.encoding != res.Header.Get("Content-Encoding") {
			t.Fatalf("%q: %d, %q, %q, %q; the standard library says %d, %q, %v", raw, h.status, body, h.kind, h.encoding, res.StatusCode, stdBody, res.Header)
		}
		if res.Close && !h.last {
			t.Fatalf("%q: the connection would be used again", raw)
		}
		rest, _ := io.ReadAll(in)
		if want, _ := io.ReadAll(std); !bytes.Equal(rest, want) {
			t.Fatalf("%q: %q is left behind it; behind the standard library's %q", raw, rest, want)
		}
	})
}

func BenchmarkHead(b *testing.B) {
	raw := strings.NewReader("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Sat, 21 Nov 2026 22:00:00 GMT\r\nContent-Length: 3\r\n\r\nabc")
	in := bufio.NewReader(raw)
	var buf [8]byte
	b.ReportAllocs()
	for b.Loop() {
		if _, err := raw.Seek(0, io.SeekStart); err != nil {
			b.Fatal(err)
		}
		in.Reset(raw)
		h, err := readHead(in, nil)
		if err != nil {
			b.Fatal(err)
		}
		body := h.body(in)
		if n, _ := body.Read(buf[:]); n != 3 {
			b.Fatal(n)
		}
	}
}
