package enginetest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// end is how an answer ends.
type end uint8

const (
	clean end = iota // the handler returns
	cut              // the connection breaks inside a chunk
	hang             // nothing more comes
)

// script is one behaviour.
type script struct {
	// head, first and gap delay the head, the first event and each later one.
	head, first, gap time.Duration
	status           int
	contentType      string
	header           map[string]string
	// events are sent as they are, one write each; the last of them for ever when endless is set.
	events  []string
	endless bool
	// whole is the answer when no stream was asked for; empty means one made of the good answer.
	whole, wholeType string
	end              end
	// noHead never sends a head.
	noHead bool
	// raw, if set, is everything that is written to the connection before it closes.
	raw func(stream bool) string
	// oneByte sends byte by byte, each flushed.
	oneByte bool
	// closing says that the connection is not used again.
	closing bool
	// ignoreCancel goes on as if the connection were still there.
	ignoreCancel bool
}

// Words of the good answer.
const (
	first  = `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"model","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}` + "\n\n"
	finish = `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"model","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n"
	done   = "data: [DONE]\n\n"

	// wholeContent is what each choice of a whole answer says, in wholeTokens tokens.
	wholeContent, wholeTokens = `"content":"aaa"`, 3

	failure = `{"error":{"message":"CUDA out of memory","type":"InternalServerError","code":500}}`
)

func token(text string, usage string) string {
	if usage != "" {
		usage = `,"usage":` + usage
	}
	return fmt.Sprintf(`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"model","choices":[{"index":0,"delta":{"content":%q},"finish_reason":null}]%s}`, text, usage) + "\n\n"
}

func usageEvent(usage string) string {
	return `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"model","choices":[],"usage":` + usage + "}\n\n"
}

func counts(prompt, completion int) string {
	return fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}`, prompt, completion, prompt+completion)
}

// good is a stream of n tokens with running usage.
func good(n int) []string {
	out := []string{first}
	for i := range n {
		out = append(out, token("a", counts(5, i+1)))
	}
	return append(out, finish, usageEvent(counts(5, n)), done)
}

// withUsage is an answer of two tokens with this usage.
func withUsage(usage string) script {
	return script{events: []string{first, token("a", ""), token("b", ""), finish, usageEvent(usage), done}, whole: wholeAnswer(1, usage)}
}

// response is an answer as it is on the wire, with what HTTP/1.1 puts around a stream or a document.
func response(stream bool, events []string, whole string) string {
	const head = "HTTP/1.1 200 OK\r\nContent-Type: "
	if !stream {
		return fmt.Sprintf("%sapplication/json\r\nContent-Length: %d\r\n\r\n%s", head, len(whole), whole)
	}
	text := strings.Join(events, "")
	return fmt.Sprintf("%stext/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", head, len(text), text)
}

// ending is an answer that is not a stream and whose choice ends in this way.
func ending(reason string) string {
	return strings.Replace(wholeAnswer(1, counts(5, 3)), `"stop"`, reason, 1)
}

// wholeAnswer is an answer that is not a stream.
func wholeAnswer(n int, usage string) string {
	choices := make([]string, 0, max(n, 1))
	for i := range max(n, 1) {
		choices = append(choices, fmt.Sprintf(`{"index":%d,"message":{"role":"assistant",%s},"finish_reason":"stop"}`, i, wholeContent))
	}
	return `{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"model","choices":[` + strings.Join(choices, ",") + `],"usage":` + usage + `}`
}

// scripts are the behaviours of inference.md section 14, by name.
func scripts(q asked) map[string]script {
	const pause = 30 * time.Millisecond
	all := map[string]script{
		"good":       {events: good(3), whole: wholeAnswer(q.N, counts(5, 3))},
		"slow-head":  {head: 300 * time.Millisecond, events: good(3)},
		"slow-first": {first: 300 * time.Millisecond, events: good(3)},
		"slow-gaps":  {gap: pause, events: good(20)},
		"endless":    {gap: 5 * time.Millisecond, events: append(good(2)[:3], token("tick", "")), endless: true},
		"burst":      {events: []string{strings.Join(good(100), "")}},
		"pings-only": {gap: pause, events: []string{": ping\n\n"}, endless: true},
		"crlf":       {events: []string{strings.ReplaceAll(strings.Join(good(3), ""), "\n", "\r\n")}},
		"no-done":    {events: good(3)[:6]},
		"no-finish":  {events: append(good(3)[:4], done), whole: ending("null")},
		"truncated":  {events: good(3)[:4], whole: ending("null")},
		"cut-mid-chunk": {raw: func(stream bool) string {
			r := response(stream, good(3), wholeAnswer(1, counts(5, 3)))
			return r[:len(r)/2]
		}},
		"closing-silently": {raw: func(stream bool) string { return response(stream, good(3), wholeAnswer(q.N, counts(5, 3))) }},
		"cut-in-chunk":     {events: append(good(3)[:3], `data: {"choi`), end: cut},
		"cut-after-tokens": {events: good(3)[:4], end: cut},
		"cut-in-head":      {raw: func(bool) string { return "HTTP/1.1 200 OK\r\nContent-Ty" }},
		"error-event":      {events: append(good(3)[:3], "data: "+failure+"\n\n"), whole: failure},
		"finish-abort":     {events: append(good(3)[:3], strings.Replace(finish, `"stop"`, `"abort"`, 1), done), whole: ending(`"abort"`)},
		"ndjson":           {contentType: "application/x-ndjson", wholeType: "application/x-ndjson", events: []string{`{"choices":[{"index":0,"delta":{"content":"a"}}]}` + "\n", `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":` + counts(5, 1) + "}\n"}},
		"status-500":       {status: 500, contentType: "application/json", events: []string{`{"error":{"message":"boom","type":"InternalServerError","code":500}}`}},
		"status-400":       {status: 400, contentType: "application/json", events: []string{`{"error":{"message":"bad field","type":"BadRequestError","code":400}}`}},
		"context":          {status: 400, contentType: "application/json", events: []string{`{"error":{"message":"context_length_exceeded: the prompt has 9999 tokens","type":"BadRequestError","code":400}}`}},
		"status-429":       {status: 429, contentType: "application/json", header: map[string]string{"Retry-After": "7"}, events: []string{`{"error":{"message":"busy","type":"x","code":429}}`}},
		"redirect":         {status: 307, header: map[string]string{"Location": "http://192.0.2.1/"}},
		"hang-head":        {noHead: true},
		"hang-body":        {events: good(3)[:3], end: hang},
		"usage-absent":     {events: []string{first, token("a", ""), token("b", ""), finish, done}, whole: strings.Replace(wholeAnswer(1, "0"), `,"usage":0`, "", 1)},
		"usage-null":       withUsage("null"),
		"usage-negative":   withUsage(`{"prompt_tokens":-5,"completion_tokens":-2,"total_tokens":-7}`),
		"usage-string":     withUsage(`"many"`),
		"usage-huge":       withUsage(`{"prompt_tokens":9223372036854775808,"completion_tokens":2,"total_tokens":9223372036854775810}`),
		"usage-lying":      withUsage(counts(5, 2_000_000_000)),
		"usage-decreasing": {events: []string{first, token("a", counts(9, 4)), token("b", counts(5, 2)), finish, done}},
		"usage-sum":        withUsage(`{"prompt_tokens":5,"completion_tokens":2,"total_tokens":99}`),
		"usage-cached":     withUsage(`{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7,"prompt_tokens_details":{"cached_tokens":50}}`),
		"usage-twice":      {events: []string{first, `data: {"choices":[],"usage":` + counts(1, 1) + `,"usage":` + counts(2, 2) + "}\n\n"}, whole: wholeAnswer(1, counts(1, 1)+`,"usage":`+counts(2, 2))},
		"one-byte":         {events: []string{strings.Join(good(3), "")}, oneByte: true},
		"wrong-type":       {contentType: "text/html", wholeType: "text/html", events: []string{"<html></html>"}},
		"gzip":             {header: map[string]string{"Content-Encoding": "gzip"}, events: []string{"\x1f\x8b\x08"}},
		"closing":          {events: good(3), whole: wholeAnswer(q.N, counts(5, 3)), closing: true},
		"ignore-cancel":    {gap: pause, events: good(20), ignoreCancel: true},
		"not-json":         {whole: "Internal error"},
	}
	return all
}

// heavy are the behaviours with large answers, made only when they are asked for.
func heavy(name string) (s script) {
	switch name {
	case "flood":
		s = script{events: append(good(2)[:3], token(strings.Repeat("x", 8<<10), "")), endless: true}
	case "huge-event":
		s = script{events: []string{first, "data: {\"x\":\"" + strings.Repeat("y", 20<<20), "\"}\n\n", done}}
	case "largest-event":
		s = script{events: []string{first, token(strings.Repeat("z", 15<<20), counts(5, 1)), finish, done}}
	case "large-event":
		s = script{events: []string{first, token(strings.Repeat("z", 2<<20), counts(5, 1)), finish, done}}
	case "huge-header":
		s = script{header: map[string]string{"X-Huge": strings.Repeat("h", 128<<10)}, events: good(1)}
	case "huge-whole":
		s = script{whole: `{"choices":[{"index":0,"message":{"content":"` + strings.Repeat("w", 1<<20) + `"},"finish_reason":"stop"}],"usage":` + counts(5, 3) + "}"}
	}
	return s
}

// scriptOf finds a behaviour and fills what it leaves out.
func scriptOf(name string, q asked) (script, bool) {
	s, ok := numbered(name, q)
	if !ok && slices.Contains(heavyNames(), name) {
		s, ok = heavy(name), true
	}
	if !ok {
		s, ok = scripts(q)[name]
	}
	if s.status == 0 {
		s.status = http.StatusOK
	}
	if s.contentType == "" {
		s.contentType = "text/event-stream"
	}
	if s.wholeType == "" {
		s.wholeType = "application/json"
	}
	if s.whole == "" {
		s.whole = wholeAnswer(q.N, counts(5, 3))
	}
	return s, ok
}

func heavyNames() []string {
	return []string{"flood", "huge-event", "large-event", "largest-event", "huge-header", "huge-whole"}
}
