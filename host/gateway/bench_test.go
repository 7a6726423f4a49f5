package gateway

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
)

const (
	benchApps   = 32 // apps at a time, each on a connection of its own
	benchPrompt = 1 << 10
	benchEvents = 100 // of a stream
	stamp       = "1700000000.123456"
)

// answerHead is the head of an answer as a proxy of ours sends it, with so much of the body.
func answerHead(media, body string) []byte {
	return tl.Encode(&tl.HTTPResponse{
		HTTPVersion: "HTTP/1.1", StatusCode: 200, Reason: "OK", Payload: []byte(body),
		Headers: []tl.HTTPHeader{
			{Name: "Content-Type", Value: media},
			{Name: "X-Aci-Keyset-Digest", Value: strings.Repeat("ab", 32)},
			{Name: "X-Cocoon-Cost-Nano", Value: "320"},
			{Name: "X-Cocoon-Proxy-Start", Value: stamp},
			{Name: "X-Cocoon-Proxy-End", Value: stamp},
			{Name: "X-Cocoon-Worker-Start", Value: stamp},
			{Name: "X-Cocoon-Worker-End", Value: stamp},
		},
	})
}

// benchRequest is a chat of the given size as an SDK sends it.
func benchRequest(size int, extra string) []byte {
	body := `{"model":"org/model","messages":[{"role":"user","content":"` + strings.Repeat("word ", size/5) + `"}]` + extra + `}`
	return fmt.Appendf(nil, "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost:1\r\nUser-Agent: OpenAI/Python 1.2.3\r\nContent-Length: %d\r\n"+
		"Accept: application/json\r\nContent-Type: application/json\r\nAuthorization: Bearer k\r\nAccept-Encoding: gzip\r\n\r\n%s", len(body), body)
}

// app is a client that costs next to nothing: it sends the same bytes again and again.
type app struct {
	b    *testing.B
	conn net.Conn
	buf  []byte
}

func newApp(b *testing.B, w *world) *app {
	b.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	return &app{b, conn, make([]byte, 64<<10)}
}

// ask sends a request and reads its answer up to the bytes with which it ends.
func (a *app) ask(request []byte, end string) {
	if len(request) > 0 {
		if _, err := a.conn.Write(request); err != nil {
			a.b.Error(err)
		}
	}
	n := 0
	for !bytes.HasSuffix(a.buf[:n], []byte(end)) {
		more, err := a.conn.Read(a.buf[n:])
		if err != nil {
			a.b.Errorf("%v behind %q", err, a.buf[:n])
			return
		}
		if n += more; n == len(a.buf) {
			n = copy(a.buf, a.buf[n-len(end):])
		}
	}
}

// load has apps send a request, each as soon as it has its answer.
func load(b *testing.B, p *scripted, request []byte, end string) {
	b.Helper()
	w := start(b, setup{bare: true}, p)
	probe := newApp(b, w)
	probe.ask(request, end)
	if head := string(probe.buf[:12]); head != "HTTP/1.1 200" {
		b.Fatalf("answered with %.300q", probe.buf)
	}
	b.ReportAllocs()
	b.SetParallelism(benchApps)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		a := newApp(b, w)
		for pb.Next() {
			a.ask(request, end)
		}
	})
}

// BenchmarkWhole is a request that is answered at once with a body, over loopback, with the proxy's side of it and the app's.
func BenchmarkWhole(b *testing.B) {
	const end = `"total_tokens":16}}`
	head := answerHead("application/json", strings.Replace(answerBody, "hi", strings.Repeat("word ", benchPrompt/5), 1))
	p := newScripted("p1", 5, nil)
	p.instant = func(s *session.Session, id [32]byte) {
		_ = s.Send(b.Context(), &tl.ClientQueryAnswerEx{RequestID: id, Answer: head, FinalInfo: used()})
		_ = s.Send(b.Context(), &tl.ClientQueryReceipt{RequestID: id, Receipt: []byte("-")})
	}
	for _, size := range []int{benchPrompt, 64 << 10} {
		b.Run(strconv.Itoa(size), func(b *testing.B) { load(b, p, benchRequest(size, ""), end) })
	}
}

// BenchmarkStream is one event of a stream that comes as fast as it can be taken.
func BenchmarkStream(b *testing.B) {
	event := []byte(`data: {"id":"chat-1","object":"chat.completion.chunk","created":7,"model":"org/model","choices":[{"index":0,"delta":{"content":"word "},"finish_reason":null}]}` + "\n\n")
	head := answerHead(eventStream, "")
	p := newScripted("p1", 5, nil)
	p.instant = func(s *session.Session, id [32]byte) {
		_ = s.Send(b.Context(), &tl.ClientQueryAnswerEx{RequestID: id, Answer: head})
		for range benchEvents {
			_ = s.Send(b.Context(), &tl.ClientQueryAnswerPartEx{RequestID: id, Answer: event})
		}
		_ = s.Send(b.Context(), &tl.ClientQueryAnswerPartEx{RequestID: id, Answer: []byte("data: [DONE]\n\n"), FinalInfo: used()})
		_ = s.Send(b.Context(), &tl.ClientQueryReceipt{RequestID: id, Receipt: []byte("-")})
	}
	load(b, p, benchRequest(benchPrompt, `,"stream":true`), "0\r\n\r\n")
}

// BenchmarkEvent is one event of a stream that comes when the app has the one before, so that each wakes everybody.
func BenchmarkEvent(b *testing.B) {
	event := []byte(`data: {"id":"chat-1","object":"chat.completion.chunk","created":7,"model":"org/model","choices":[{"index":0,"delta":{"content":"word "},"finish_reason":null}]}` + "\n\n")
	head := answerHead(eventStream, "")
	p := newScripted("p1", 5, nil)
	took := make(chan struct{}, 1)
	var pacing sync.WaitGroup
	p.instant = func(s *session.Session, id [32]byte) {
		_ = s.Send(b.Context(), &tl.ClientQueryAnswerEx{RequestID: id, Answer: head})
		pacing.Go(func() {
			for range took {
				_ = s.Send(b.Context(), &tl.ClientQueryAnswerPartEx{RequestID: id, Answer: event})
			}
		})
	}
	a := newApp(b, start(b, setup{bare: true}, p))
	took <- struct{}{}
	a.ask(benchRequest(benchPrompt, `,"stream":true`), "\n\n\r\n")
	b.ReportAllocs()
	for b.Loop() {
		took <- struct{}{}
		a.ask(nil, "\n\n\r\n")
	}
	close(took)
	pacing.Wait()
}
