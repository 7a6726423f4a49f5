// Package meter reads an engine's answer as it passes: what it costs in tokens, whether it is whole, and which of its
// bytes go on (inference.md sections 6 and 7).
//
// It owns the edits that are allowed, all by cutting or appending whole bytes, and the verdict on a stream; every other
// byte goes on as the engine sent it, because receipts cover exactly those. It trusts no engine: events are bounded,
// numbers are checked, a duplicate key ends the stream, and an end that is not a finish is never passed on as one. A
// Meter belongs to one answer and is not safe for concurrent use. It keeps no text.
package meter

import (
	"bytes"
	"errors"
	"slices"

	"cocoon/contracts/api"
	"cocoon/contracts/api/jsonscan"
	"cocoon/contracts/api/sse"
)

// Options describe one request and its engine.
type Options struct {
	// IncludeUsage says that the caller asked for a usage event.
	IncludeUsage bool
	// Choices is the request's n; 0 counts as 1.
	Choices int64
	// Responses is for the events of /v1/responses, which have types instead of choices and no [DONE].
	Responses bool
	// SingleChoiceUsage is for engines whose usage counts one choice only.
	SingleChoiceUsage bool
	// PromptTokens is the estimate that is billed when the engine gives no usage.
	PromptTokens int64
	// Cost prices a usage for the fields in the answer; nil leaves them out.
	Cost func(Usage) Cost
	// RequestID goes into error events.
	RequestID string
}

// Result is what a Meter has found so far.
type Result struct {
	// Code is why the answer failed; empty when nothing is wrong.
	Code api.Code
	// Complete says that every choice came to a proper end.
	Complete bool
	// Events counts what was sent on, Content those with a part of the answer.
	Events, Content int
	// FinishReasons are in the order of their arrival, one for each choice.
	FinishReasons []string
	// Usage is what is billed, and Source where it is from. Estimated is true when it is not the engine's own number.
	Usage     Usage
	Source    Source
	Estimated bool
	// Rejected counts usage objects that were not valid.
	Rejected int
	// AppendedUsage says that the usage event is ours.
	AppendedUsage bool
}

// Meter follows one answer, after Begin.
type Meter struct {
	opt      Options
	in       sse.Splitter
	reader   jsonscan.Reader
	edit     jsonscan.Edit
	head     header
	done     []byte // the engine's [DONE] event, held back until the end
	edited   []byte // the last event's data after an edit
	finished set
	choices  set
	usage    Usage
	seen     bool // a valid usage was seen
	sent     bool // a usage event went on
	res      Result
}

// header is what a usage event of ours repeats from the engine's events, as raw JSON.
type header struct{ id, object, created, model []byte }

// New makes a Meter for one answer.
func New(opt Options) *Meter {
	m := new(Meter)
	m.Begin(opt)
	return m
}

// Begin makes ready a Meter that is zero.
func (m *Meter) Begin(opt Options) {
	opt.Choices = max(opt.Choices, 1)
	m.opt = opt
}

// Append takes bytes of the engine's stream and appends to dst what goes on. After a failure nothing goes on.
func (m *Meter) Append(dst, p []byte) []byte {
	if m.res.Code != "" || m.done != nil {
		return dst
	}
	m.in.Write(p)
	for m.res.Code == "" && m.done == nil {
		e, ok, err := m.in.Next()
		switch {
		case errors.Is(err, sse.ErrTooLarge):
			m.res.Code = api.EventTooLarge
		case err != nil:
			m.res.Code = api.MalformedEvent
		case !ok:
			return dst
		default:
			dst = m.event(dst, e)
		}
	}
	return dst
}

// event judges one event.
func (m *Meter) event(dst []byte, e sse.Event) []byte {
	switch {
	case !e.Fields:
		return append(dst, e.Raw...)
	case e.Data == nil:
		m.res.Events++
		return append(dst, e.Raw...)
	case bytes.Equal(bytes.TrimSpace(e.Data), []byte("[DONE]")):
		m.done = bytes.Clone(e.Raw)
		return dst
	}
	doc, err := m.reader.Check(e.Data)
	if err != nil {
		m.res.Code = api.MalformedEvent
		return dst
	}
	keep, edited := m.read(doc)
	if m.res.Code != "" || !keep {
		return dst
	}
	m.res.Events++
	if edited == nil {
		return append(dst, e.Raw...)
	}
	return appendEdited(dst, e, edited)
}

// appendEdited writes an event with other data. Line ends between data lines are white space in JSON, so each line that
// is left gets its field name again.
func appendEdited(dst []byte, e sse.Event, data []byte) []byte {
	if e.At >= 0 {
		dst = append(dst, e.Raw[:e.At]...)
		dst = append(dst, data...)
		return append(dst, e.Raw[e.At+len(e.Data):]...)
	}
	return sse.Append(dst, bytes.ReplaceAll(data, []byte("\n"), []byte("\ndata: ")))
}

// read takes the numbers from one document. It says whether the event goes on, and with which other data.
func (m *Meter) read(doc jsonscan.Value) (keep bool, edited []byte) {
	if m.opt.Responses {
		return m.readResponse(doc), nil
	}
	var usage, choices jsonscan.Value
	var content bool
	for member := range doc.All() {
		switch string(member.Key) {
		case "error":
			if member.Kind() != jsonscan.Null {
				m.res.Code = api.EngineError
				return false, nil
			}
		case "usage":
			usage = member.Value
		case "timings":
			if u, ok := readTimings(member.Value); ok {
				m.note(u)
			}
		case "choices":
			choices = member.Value
			content = m.readChoices(member.Value)
		default:
			m.head.note(member)
		}
	}
	if content {
		m.res.Content++
	}
	if usage.Kind() == 0 {
		return true, nil
	}
	valid := m.readUsage(usage)
	if choices.Kind() == jsonscan.Array && choices.Empty() {
		return m.usageEvent(doc, usage, valid)
	}
	m.edited, _ = jsonscan.AppendCut(m.edited[:0], doc, "usage")
	return true, m.edited
}

// usageEvent decides about an event that holds nothing but usage.
func (m *Meter) usageEvent(doc, usage jsonscan.Value, valid bool) (keep bool, edited []byte) {
	if !m.opt.IncludeUsage || !valid || m.sent {
		return false, nil
	}
	m.sent = true
	if m.opt.Cost == nil {
		return true, nil
	}
	m.edit.Begin(doc)
	m.edit.Set("usage", m.priced(usage))
	m.edited = m.edit.Append(m.edited[:0])
	return true, m.edited
}

// priced splices the cost into a usage object.
func (m *Meter) priced(usage jsonscan.Value) []byte {
	u, _ := m.billed()
	c := m.opt.Cost(u)
	raw := usage.Raw()
	out := make([]byte, 0, len(raw)+maxCost)
	return append(c.append(append(out, raw[:len(raw)-1]...)), '}')
}

func (h *header) note(m jsonscan.Member) {
	var field *[]byte
	switch string(m.Key) {
	case "id":
		field = &h.id
	case "object":
		field = &h.object
	case "created":
		field = &h.created
	case "model":
		field = &h.model
	}
	if field != nil && *field == nil {
		*field = bytes.Clone(m.Raw())
	}
}

// readUsage notes a usage member; null says nothing.
func (m *Meter) readUsage(v jsonscan.Value) bool {
	if v.Kind() == jsonscan.Null {
		return false
	}
	u, ok := readUsage(v, chatNames())
	if !ok {
		m.res.Rejected++
		return false
	}
	m.note(u)
	return true
}

func (m *Meter) note(u Usage) {
	m.usage.raise(u)
	m.seen = true
}

// readChoices notes finish reasons and says whether a choice carries a part of the answer.
func (m *Meter) readChoices(v jsonscan.Value) (content bool) {
	for c := range v.Each() {
		var index int64
		var reason jsonscan.Value
		for member := range c.All() {
			switch string(member.Key) {
			case "index":
				index, _ = member.Int()
			case "delta", "text":
				content = content || hasContent(member.Value)
			case "finish_reason":
				reason = member.Value
			}
		}
		if index < 0 || index >= m.opt.Choices {
			m.res.Code = api.MalformedEvent
			return false
		}
		m.choices.add(index)
		m.finish(index, reason)
	}
	return content
}

// finish notes the end of a choice, where its reason is a text. Any other reason than those that are known is a failure:
// engines end aborted answers that way.
func (m *Meter) finish(index int64, reason jsonscan.Value) {
	if reason.Kind() != jsonscan.String {
		return
	}
	known := [...]string{"stop", "length", "tool_calls", "content_filter", "function_call"}
	i := slices.IndexFunc(known[:], reason.Is)
	switch {
	case i < 0:
		m.res.Code = api.EngineAbort
	case m.finished.add(index):
		m.res.FinishReasons = append(m.res.FinishReasons, known[i])
	}
}

func textOf(v jsonscan.Value, key string) (string, bool) {
	member, _ := v.Get(key)
	return member.Text()
}

// hasContent says whether a delta, or the text of a completion, carries a part of the answer.
func hasContent(v jsonscan.Value) bool {
	if v.Kind() == jsonscan.String {
		return len(v.Raw()) > 2
	}
	for m := range v.All() {
		switch string(m.Key) {
		case "content", "reasoning", "reasoning_content", "refusal":
			if m.Kind() == jsonscan.String && len(m.Raw()) > 2 {
				return true
			}
		case "tool_calls", "function_call":
			if m.Kind() != jsonscan.Null {
				return true
			}
		}
	}
	return false
}

// readResponse reads an event of /v1/responses.
func (m *Meter) readResponse(doc jsonscan.Value) bool {
	kind, _ := textOf(doc, "type")
	switch kind {
	case "response.completed", "response.incomplete":
		response, _ := doc.Get("response")
		if usage, ok := response.Get("usage"); ok && usage.Kind() != jsonscan.Null {
			u, valid := readUsage(usage, responseNames())
			if !valid {
				m.res.Rejected++
			} else {
				m.note(u)
			}
		}
		if m.finished.add(0) {
			m.res.FinishReasons = append(m.res.FinishReasons, kind)
		}
	case "response.failed", "error":
		m.res.Code = api.EngineError
		return false
	default:
		if bytes.HasSuffix([]byte(kind), []byte(".delta")) {
			m.res.Content++
		}
	}
	return true
}
