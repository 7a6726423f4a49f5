package meter

import (
	"bytes"

	"cocoon/contracts/api"
	"cocoon/contracts/api/jsonscan"
	"cocoon/contracts/api/sse"
)

// Finish appends what follows the engine's last byte: the usage event that was asked for and [DONE], or an error event
// and nothing more. The stream is over afterwards.
func (m *Meter) Finish(dst []byte) []byte {
	m.complete()
	if m.res.Code == "" && !m.res.Complete {
		m.res.Code = api.EngineTruncated
	}
	if m.res.Code != "" {
		return m.Fail(dst, m.res.Code)
	}
	if m.opt.IncludeUsage && !m.sent && !m.opt.Responses {
		dst = m.appendUsageEvent(dst)
		m.res.AppendedUsage = true
	}
	switch {
	case m.done != nil:
		m.res.Events++
		return append(dst, m.done...)
	case m.opt.Responses:
		return dst
	}
	return append(dst, sse.Done...)
}

// Fail appends the error event that ends a stream for a reason from outside: cancellation, a deadline, a lost worker.
func (m *Meter) Fail(dst []byte, code api.Code) []byte {
	m.res.Code = code
	e := &api.Error{Code: code, Message: "the answer ended before it was complete; what was generated so far is billed", RequestID: m.opt.RequestID}
	return sse.Append(dst, e.Body())
}

// complete says whether every choice has come to its end.
func (m *Meter) complete() {
	want := m.opt.Choices
	if m.opt.Responses {
		want = 1
	}
	m.res.Complete = int64(len(m.finished)) == want
}

func (m *Meter) appendUsageEvent(dst []byte) []byte {
	data := []byte{'{'}
	for _, f := range []struct {
		key string
		raw []byte
	}{{"id", m.head.id}, {"object", m.head.object}, {"created", m.head.created}, {"model", m.head.model}} {
		if f.raw != nil {
			data = append(append(append(append(data, '"'), f.key...), `":`...), f.raw...)
			data = append(data, ',')
		}
	}
	u := m.Result().Usage
	var c *Cost
	if m.opt.Cost != nil {
		priced := m.opt.Cost(u)
		c = &priced
	}
	data = append(data, `"choices":[],"usage":`...)
	data = appendUsage(data, u, c)
	return sse.Append(dst, append(data, '}'))
}

// Result is what was found so far.
func (m *Meter) Result() Result {
	r := m.res
	r.Usage = m.usage.clamped()
	switch {
	case m.seen && m.res.Code == "":
		r.Source = FromEngine
	case m.seen:
		r.Source = FromPartial
	default:
		r.Source, r.Estimated = FromCounting, true
		r.Usage = Usage{Prompt: m.opt.PromptTokens, Completion: int64(r.Content)}
	}
	if n := int64(len(m.choices)); m.seen && m.opt.SingleChoiceUsage && n > 1 {
		r.Usage.Completion *= n
		r.Usage.Reasoning *= n
		r.Estimated = true
	}
	return r
}

// Whole meters an answer that is not a stream and returns the bytes that go on. An answer that is an error has its code
// in the Result; its bytes are then nil, because engines put numbers where the API has strings.
func Whole(body []byte, opt Options) ([]byte, Result) {
	m := New(opt)
	doc, err := jsonscan.Check(body)
	if err != nil {
		m.res.Code = api.MalformedEvent
		return nil, m.Result()
	}
	usage, _ := doc.Get("usage")
	n := chatNames()
	if opt.Responses {
		n = responseNames()
	}
	if u, ok := readUsage(usage, n); ok {
		m.note(u)
	} else if usage.Kind() != 0 && usage.Kind() != jsonscan.Null {
		m.res.Rejected++
	}
	choices, _ := doc.Get("choices")
	m.readWholeChoices(choices)
	if e, ok := doc.Get("error"); ok && e.Kind() != jsonscan.Null {
		m.res.Code = api.EngineError
	}
	if m.res.Code != "" {
		return nil, m.Result()
	}
	m.res.Complete = true
	if opt.Cost == nil || !m.seen {
		return bytes.Clone(body), m.Result()
	}
	edit := jsonscan.NewEdit(doc)
	edit.Set("usage", m.priced(usage))
	return edit.Bytes(), m.Result()
}

// readWholeChoices notes the finish reasons of an answer that is not a stream.
func (m *Meter) readWholeChoices(v jsonscan.Value) {
	for i, c := range v.Elements() {
		m.choices[int64(i)] = true
		if reason, ok := textOf(c, "finish_reason"); ok {
			m.finish(int64(i), reason)
		}
		m.res.Content++
	}
}
