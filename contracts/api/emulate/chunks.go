package emulate

import (
	"bytes"
	"encoding/json"
	"strconv"

	"cocoon/contracts/api/jsonscan"
	"cocoon/contracts/api/sse"
)

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
		delta = append(append(append(delta, ','), quoted(part.Key)...), ':')
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

// quoted is a member's key as JSON.
func quoted(key []byte) []byte {
	out, err := json.Marshal(string(key))
	if err != nil { // strings always encode
		return []byte(`""`)
	}
	return out
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
