package worker

import (
	"bufio"
	"bytes"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"cocoon/contracts/receipt"
	"cocoon/contracts/wire/tl"
	"cocoon/guest/worker/engine"
)

// rote is an engine that knows two answers and takes no memory to give them: what a benchmark counts is the worker's.
type rote struct{ whole, stream []byte }

// roteEvents is how many events the stream has.
const roteEvents = 100

func newRote() rote {
	const (
		head = "HTTP/1.1 200 OK\r\nDate: Mon, 05 Oct 2026 10:00:00 GMT\r\nContent-Type: "
		same = `data: {"id":"chatcmpl-0123456789","object":"chat.completion.chunk","created":1795000000,"model":"m","choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":`
	)
	whole := `{"id":"chatcmpl-0123456789","object":"chat.completion","created":1795000000,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"` +
		strings.Repeat("a word or two, ", 60) + `"},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":3,"total_tokens":15}}`
	stream := head + "text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
	chunk := func(event string) { stream += strconv.FormatInt(int64(len(event)), 16) + "\r\n" + event + "\r\n" }
	for range roteEvents - 2 {
		chunk(same + "null}]}\n\n")
	}
	chunk(same + "\"stop\"}]}\n\n")
	chunk("data: [DONE]\n\n")
	return rote{
		whole:  []byte(head + "application/json\r\nContent-Length: " + strconv.Itoa(len(whole)) + "\r\n\r\n" + whole),
		stream: []byte(stream + "0\r\n\r\n"),
	}
}

// serve answers on one connection.
func (r rote) serve(conn net.Conn) {
	defer conn.Close() //nolint:errcheck // the other side has left
	in := bufio.NewReader(conn)
	for {
		size, answer := 0, r.whole
		for line := []byte{0}; len(line) > 0; {
			var err error
			if line, err = in.ReadSlice('\n'); err != nil {
				return
			}
			line = bytes.TrimSpace(line)
			if digits, found := bytes.CutPrefix(line, []byte("Content-Length: ")); found {
				size, _ = strconv.Atoi(string(digits))
			}
			if bytes.HasPrefix(line, []byte("Accept: text/event-stream")) {
				answer = r.stream
			}
		}
		if _, err := in.Discard(size); err != nil {
			return
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}

// adapter serves on a socket until the benchmark ends.
func (r rote) adapter(b *testing.B) *engine.Adapter {
	b.Helper()
	socket := filepath.Join(b.TempDir(), "e.sock")
	l, err := new(net.ListenConfig).Listen(b.Context(), "unix", socket)
	if err != nil {
		b.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() { r.serve(conn) })
		}
	})
	cfg, err := engine.Builtin(engine.Fake)
	if err != nil {
		b.Fatal(err)
	}
	cfg.Listen = "unix:" + socket
	a, err := engine.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { a.Close(); _ = l.Close(); served.Wait() })
	return a
}

// BenchmarkRequest is a request from the proxy's message to the statement, with what the session takes at both of its ends
// for the messages between.
func BenchmarkRequest(b *testing.B) {
	for name, stream := range map[string]bool{"whole": false, "100 events": true} {
		b.Run(name, func(b *testing.B) {
			k := newKit(b, func(_ *Config, d *Deps) { d.Engine, d.Log = newRote().adapter(b), slog.New(slog.DiscardHandler) })
			ended := make(chan int32, 1)
			p := k.accept(versionOurs, func(p *proxy) {
				p.hear = func(o tl.Object) {
					if s, ok := o.(*tl.ProxyQueryStatement); ok {
						ended <- s.Status
					}
				}
			})
			k.until("ready", func() bool { return k.w.Status().Reason == "" })
			ask := &tl.ProxyRunQueryEx{
				Query: tl.Encode(&tl.HTTPRequest{
					Method: "POST", URL: "/v1/chat/completions", HTTPVersion: "HTTP/1.1", Payload: []byte(chat(stream, strings.Repeat("A few words. ", 80))),
					Headers: []tl.HTTPHeader{{Name: "Content-Type", Value: "application/json"}, {Name: requestIDHeader, Value: strings.Repeat("0a", 32)}},
				}),
				SignedPayment: &tl.ProxySignedPaymentEmpty{}, Coefficient: 1000, Timeout: patience.Seconds(),
			}
			b.ReportAllocs()
			for n := uint32(0); b.Loop(); n++ {
				ask.RequestID = idOf(n)
				if err := p.sess.Send(b.Context(), ask); err != nil {
					b.Fatal(err)
				}
				if status := <-ended; status != wireStatus(receipt.Complete) {
					b.Fatal(status)
				}
			}
		})
	}
}
