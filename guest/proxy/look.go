package proxy

import (
	"bytes"
	"slices"

	"cocoon/contracts/api/jsonscan"
	"cocoon/contracts/api/sse"
)

const (
	// lookBytes is how much of the beginning and of the end of an answer is looked into.
	lookBytes = 8 << 10
	maxChatID = 128
)

// look remembers an answer's two ends until it is over, for the two words of it that a receipt has.
type look struct {
	front, tail []byte
	room        []byte // what a long answer's tail moves through
	// events counts the data events that passed.
	events int64
	last   byte
}

// only is see of an answer that comes at once, and is changed no more: its memory is shared.
func (l *look) only(b []byte) {
	l.front, l.tail = slices.Clip(b[:min(len(b), lookBytes)]), slices.Clip(b[max(len(b)-lookBytes, 0):])
	l.count(b)
}

func (l *look) count(b []byte) {
	if len(b) == 0 {
		return
	}
	l.events += int64(bytes.Count(b, []byte("\n\n")))
	if b[0] == '\n' && l.last == '\n' {
		l.events++
	}
	l.last = b[len(b)-1]
}

func (l *look) see(b []byte) {
	if len(b) == 0 {
		return
	}
	whole := l.front == nil && len(b) < lookBytes
	if room := lookBytes - len(l.front); room > 0 {
		l.front = append(l.front, b[:min(room, len(b))]...)
	}
	l.count(b)
	if whole { // until more comes, both ends are the same
		l.tail = slices.Clip(l.front)
		return
	}
	if len(b) >= lookBytes {
		l.tail = append(l.room[:0], b[len(b)-lookBytes:]...)
		return
	}
	if over := len(l.tail) + len(b) - lookBytes; over > 0 {
		l.tail = l.tail[over:]
		if cap(l.tail)-len(l.tail) < len(b) { // moved once for many events
			if l.room == nil {
				l.room = make([]byte, 0, 2*lookBytes)
			}
			l.tail = append(l.room[:0], l.tail...)
		}
	}
	l.tail = append(l.tail, b...)
}

// chatID is the id in the answer: a document's, or that of a stream's first event. What cannot be read has none.
func (l *look) chatID() string {
	if doc, err := jsonscan.Check(l.front); err == nil {
		return idOf(doc)
	}
	var s sse.Splitter
	s.Write(l.front)
	for {
		e, ok, err := s.Next()
		switch {
		case !ok || err != nil:
			return ""
		case e.Data == nil:
			continue
		}
		doc, err := jsonscan.Check(e.Data)
		if err != nil {
			return ""
		}
		return idOf(doc)
	}
}

func idOf(doc jsonscan.Value) string {
	v, ok := doc.Get("id")
	if !ok {
		return ""
	}
	id, ok := v.Text()
	if !ok || len(id) > maxChatID || slices.ContainsFunc([]byte(id), func(c byte) bool { return c < ' ' || c > '~' }) {
		return ""
	}
	return id
}

// finish is the last finish reason of the answer that is a word. Inside a JSON string the quotes would be escaped, so what is
// found is a member; of which object does not matter for a word out of five.
func (l *look) finish() string {
	key := []byte(`"finish_reason":`)
	var last []byte
	for rest := l.tail; ; { // a search from the front is by far the faster one
		i := bytes.Index(rest, key)
		if i < 0 {
			break
		}
		rest = bytes.TrimPrefix(rest[i+len(key):], []byte(" "))
		if word, ok := bytes.CutPrefix(rest, []byte(`"`)); ok {
			last = word
		}
	}
	word, _, found := bytes.Cut(last, []byte(`"`))
	if !found || !slices.Contains([]string{"stop", "length", "tool_calls", "content_filter", "function_call"}, string(word)) {
		return ""
	}
	return string(word)
}
