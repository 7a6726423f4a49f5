package gateway

import (
	"bytes"
	"strconv"

	"cocoon/contracts/api"
	"cocoon/contracts/api/jsonscan"
	"cocoon/contracts/api/sse"
)

// forReference makes the body that a reference proxy can serve (inference.md section 6.5): not streaming, and without the
// fields that it refuses, as long as they do not change the answer.
func forReference(req *api.Request) ([]byte, error) {
	if err := readable(req); err != nil {
		return nil, err
	}
	e := req.Forward()
	for _, name := range []string{"tools", "tool_choice", "top_logprobs", "logit_bias", "parallel_tool_calls", "stream_options"} {
		e.Cut(name)
	}
	if v, _ := req.Body().Get("logprobs"); v.Kind() == jsonscan.False || v.Kind() == jsonscan.Null {
		e.Cut("logprobs")
	}
	if req.Endpoint == api.Chat {
		e.Cut("seed")
	}
	e.Cut("stream")
	return e.Bytes(), nil
}

// readable refuses what would change the answer if it were left out.
func readable(req *api.Request) error {
	doc := req.Body()
	for _, f := range []struct {
		name  string
		empty func(v jsonscan.Value) bool
		chat  bool // only in chat
	}{
		{name: "tools", empty: noElements},
		{name: "tool_choice", empty: func(v jsonscan.Value) bool { s, _ := v.Text(); return s == "none" || s == "auto" && !req.Tools }},
		{name: "logprobs", empty: func(v jsonscan.Value) bool { on, ok := v.Bool(); return ok && !on }},
		{name: "top_logprobs", empty: func(v jsonscan.Value) bool { n, ok := v.Int(); return ok && n == 0 }},
		{name: "logit_bias", empty: func(v jsonscan.Value) bool { return len(v.Members()) == 0 }},
		{name: "parallel_tool_calls", empty: func(jsonscan.Value) bool { return !req.Tools }},
		{name: "seed", empty: func(jsonscan.Value) bool { return false }, chat: true},
	} {
		v, ok := doc.Get(f.name)
		if ok && v.Kind() != jsonscan.Null && !f.empty(v) && (!f.chat || req.Endpoint == api.Chat) {
			return &api.Error{
				Code: api.UnsupportedParameter, Param: f.name,
				Message: "the proxy that is connected is of the reference network, which does not take this parameter; leave it out or name another proxy",
			}
		}
	}
	if req.Stream && req.Endpoint == api.Responses {
		return &api.Error{Code: api.UnsupportedParameter, Param: "stream", Message: "the proxy that is connected is of the reference network, which cannot stream this; leave it out"}
	}
	return nil
}

func noElements(v jsonscan.Value) bool { return v.Kind() == jsonscan.Array && len(v.Elements()) == 0 }

// truncated is the error of an answer that cannot be shown as a whole one.
func truncated() error {
	return &api.Error{Code: api.EngineTruncated, Message: "the answer is not complete; try again"}
}

// imitation is a whole answer as the events of a stream. The parts keep the worker's bytes.
func imitation(ep api.Endpoint, body []byte, usage bool) ([]byte, error) {
	doc, err := jsonscan.Check(body)
	if err != nil {
		return wrapped(body)
	}
	choices, _ := doc.Get("choices")
	if choices.Kind() != jsonscan.Array {
		return nil, truncated()
	}
	c := chunks{object: "chat.completion.chunk", doc: doc}
	write := c.message
	if ep == api.Completions {
		c.object, write = "text_completion", c.text
	}
	n := 0
	for choice := range choices.Each() {
		reason, _ := choice.Get("finish_reason")
		if reason.Kind() != jsonscan.String {
			return nil, truncated()
		}
		write(choice, reason)
		n++
	}
	if n == 0 {
		return nil, truncated()
	}
	if v, ok := doc.Get("usage"); ok && usage {
		c.event(nil, v.Raw())
	}
	return append(c.out, sse.Done...), nil
}

// chunks writes the events of one answer.
type chunks struct {
	object string
	doc    jsonscan.Value
	out    []byte
}

// event writes one event around a choice; without one it carries the usage.
func (c *chunks) event(choice, usage []byte) {
	e := []byte(`{"object":"` + c.object + `"`)
	for _, name := range []string{"id", "created", "model", "system_fingerprint"} {
		if v, ok := c.doc.Get(name); ok {
			e = append(append(e, `,"`+name+`":`...), line(v.Raw())...)
		}
	}
	e = append(append(append(e, `,"choices":[`...), choice...), ']')
	if usage != nil {
		e = append(append(e, `,"usage":`...), line(usage)...)
	}
	c.out = sse.Append(c.out, append(e, '}'))
}

// line takes line ends out of JSON, where they can only stand between tokens: an event's data is one line.
func line(raw []byte) []byte {
	if !bytes.ContainsAny(raw, "\r\n") {
		return raw
	}
	return bytes.Map(func(r rune) rune {
		if r == '\r' || r == '\n' {
			return ' '
		}
		return r
	}, raw)
}

func index(choice jsonscan.Value) []byte {
	if v, ok := choice.Get("index"); ok {
		if n, ok := v.Int(); ok {
			return strconv.AppendInt(nil, n, 10)
		}
	}
	return []byte("0")
}

// message writes a choice of a chat: its role, what it says, and how it ended.
func (c *chunks) message(choice, reason jsonscan.Value) {
	head := append(append([]byte(`{"index":`), index(choice)...), `,"delta":`...)
	event := func(delta []byte, tail string) {
		c.event(append(append(append([]byte{}, head...), delta...), tail...), nil)
	}
	event([]byte(`{"role":"assistant","content":""}`), `,"finish_reason":null}`)
	m, _ := choice.Get("message")
	var delta []byte
	for part := range m.All() {
		if string(part.Key) == "role" || part.Kind() == jsonscan.Null {
			continue
		}
		value := line(part.Raw())
		if string(part.Key) == "tool_calls" && part.Kind() == jsonscan.Array {
			value = numbered(part.Value)
		}
		delta = append(strconv.AppendQuoteToASCII(append(delta, ','), string(part.Key)), ':')
		delta = append(delta, value...)
	}
	if len(delta) > 0 {
		delta[0] = '{'
		tail := `,"finish_reason":null}`
		if v, ok := choice.Get("logprobs"); ok && v.Kind() == jsonscan.Object {
			tail = `,"logprobs":` + string(line(v.Raw())) + tail
		}
		event(append(delta, '}'), tail)
	}
	event([]byte(`{}`), `,"finish_reason":`+string(reason.Raw())+`}`)
}

// numbered gives the calls of tools their index, which only streams have.
func numbered(list jsonscan.Value) []byte {
	out := []byte{'['}
	n := 0
	for call := range list.Each() {
		if n > 0 {
			out = append(out, ',')
		}
		if call.Kind() == jsonscan.Object {
			rest := bytes.TrimSpace(line(call.Raw())[1:])
			out = append(append(out, `{"index":`...), strconv.Itoa(n)...)
			if rest[0] != '}' {
				out = append(out, ',')
			}
			out = append(out, rest...)
		} else {
			out = append(out, line(call.Raw())...)
		}
		n++
	}
	return append(out, ']')
}

// text writes a choice of a completion.
func (c *chunks) text(choice, reason jsonscan.Value) {
	out := append(append([]byte(`{"index":`), index(choice)...), `,"text":`...)
	v, _ := choice.Get("text")
	if v.Kind() == jsonscan.String {
		out = append(out, v.Raw()...)
	} else {
		out = append(out, `""`...)
	}
	out = append(append(append(out, `,"logprobs":null,"finish_reason":`...), reason.Raw()...), '}')
	c.event(out, nil)
}

// wrapped makes events of NDJSON, which stub engines of the reference implementation send.
func wrapped(body []byte) ([]byte, error) {
	var out []byte
	whole := false
	for row := range bytes.Lines(body) {
		row = bytes.TrimSpace(row)
		if len(row) == 0 {
			continue
		}
		doc, err := jsonscan.Check(row)
		if err != nil {
			return nil, &api.Error{Code: api.WorkerProtocol, Message: "the answer is neither JSON nor a row of JSON objects; try again"}
		}
		choices, _ := doc.Get("choices")
		for c := range choices.Each() {
			reason, _ := c.Get("finish_reason")
			whole = whole || reason.Kind() == jsonscan.String
		}
		out = sse.Append(out, row)
	}
	if !whole {
		return nil, truncated()
	}
	return append(out, sse.Done...), nil
}
