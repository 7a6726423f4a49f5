package e2e

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cocoon/guest/proxy/ledger"
)

// faulty starts a network for a test of faults: it leaves nothing behind when it is closed. Such networks do not run side
// by side.
func faulty(t *testing.T, o options) *world {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { // the last one: by now everything has been closed
		if err := goleak.Find(before); err != nil && !t.Failed() {
			t.Errorf("a network leaves something behind: %v", err)
		}
	})
	return start(t, o)
}

// seen is what an app saw of one answer, however that ended.
type seen struct {
	status int
	header http.Header
	// body is everything that was read, err why reading ended before its end.
	body string
	err  error
	// what the body says
	text, finish, code string
	usage              *usage
	stream, done       bool
	// id is the beginning of the request's id in hex, empty when no answer named it.
	id string
}

// whole says that the answer claims to be complete.
func (s *seen) whole() bool {
	return s.err == nil && s.status == http.StatusOK && s.code == "" && s.done == s.stream && s.finish != ""
}

// failed says that the app was told, or its connection broken.
func (s *seen) failed() bool {
	return s.err != nil || s.status >= http.StatusBadRequest || s.code != ""
}

// try asks and reads to the end, whatever that is. It may be called from any goroutine.
func (c *caller) try(ctx context.Context, body string) seen {
	return c.watch(ctx, body, nil)
}

// watch is try, with a look at each piece as it comes.
func (c *caller) watch(ctx context.Context, body string, look func(part []byte)) seen {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+chatPath, strings.NewReader(body))
	if err != nil {
		return seen{err: err}
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := c.client.Do(r)
	if err != nil {
		return seen{err: err}
	}
	defer resp.Body.Close() //nolint:errcheck // read side
	s := seen{status: resp.StatusCode, header: resp.Header, stream: strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream")}
	var all bytes.Buffer
	buf := make([]byte, 32<<10)
	for err == nil {
		var n int
		n, err = resp.Body.Read(buf)
		all.Write(buf[:n])
		if look != nil && n > 0 {
			look(buf[:n])
		}
	}
	if err != io.EOF { //nolint:errorlint // a reader's own end is not wrapped
		s.err = err
	}
	s.body = all.String()
	s.read()
	return s
}

// read takes the words out of the body.
func (s *seen) read() {
	docs := []string{s.body}
	if s.stream {
		docs = docs[:0]
		for event := range strings.SplitSeq(strings.ReplaceAll(s.body, "\r\n", "\n"), "\n\n") {
			if data, ok := strings.CutPrefix(event, "data: "); ok {
				docs = append(docs, data)
			}
		}
	}
	var text strings.Builder
	for _, doc := range docs {
		if doc == "[DONE]" {
			s.done = true
			continue
		}
		s.document(doc, &text)
	}
	s.text = text.String()
	if id := s.header.Get("X-Receipt-Id"); id != "" {
		s.id = id
	}
}

func (s *seen) document(doc string, text *strings.Builder) {
	var a struct {
		answer
		Error *struct {
			Code      string `json:"code"`
			RequestID string `json:"request_id"`
		} `json:"error"`
	}
	if json.Unmarshal([]byte(doc), &a) != nil {
		return // the end of a connection may be in the middle of a document
	}
	for _, c := range a.Choices {
		text.WriteString(c.Message.Content)
		text.WriteString(c.Delta.Content)
		if c.Finish != "" {
			s.finish = c.Finish
		}
	}
	if a.Usage != nil {
		s.usage = a.Usage
	}
	if a.Error != nil {
		s.code, s.id = a.Error.Code, strings.TrimPrefix(a.Error.RequestID, "req_")
	}
}

// entry waits for what a ledger says of a request; false after a while without any.
func (n *world) entry(id string) (e ledger.Entry, ok bool) {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, e := range n.settled() {
			if id != "" && strings.HasPrefix(hex.EncodeToString(e.Request[:]), id) {
				return e, true
			}
		}
		select {
		case <-tick.C:
		case <-limit.C:
			return e, false
		}
	}
}

// paper waits for the receipt that belongs to an entry; false after a while without any.
func (n *world) paper(e ledger.Entry) (record, bool) {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		kept, ok, err := n.store.Find(hex.EncodeToString(e.Request[:]))
		if err != nil {
			n.t.Errorf("reading the store: %v", err)
			return record{}, false
		}
		if ok {
			r := record{Class: kept.Class, Why: kept.Why, Receipt: kept.Receipt}
			if err := r.parse(); err != nil {
				n.t.Errorf("reading a receipt: %v\n%s", err, kept.Receipt)
			}
			return r, true
		}
		select {
		case <-tick.C:
		case <-limit.C:
			return record{}, false
		}
	}
}
