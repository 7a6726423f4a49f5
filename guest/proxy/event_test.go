package proxy

import (
	"bytes"
	"testing"
	"time"
)

// TestPartsThatWaitBecomeOne: nobody took the first part when the second came; a head, an error and the last part keep
// their places.
func TestPartsThatWaitBecomeOne(t *testing.T) {
	a := newAttempt(&worker{version: versionOurs}, nil)
	part := func(text string) event { return event{kind: evPart, data: []byte(text)} }
	for _, e := range []event{{kind: evHead, data: []byte("h")}, part("a"), part("b"), part("c"), {kind: evError, text: "e"}, part("d")} {
		a.deliver(e)
	}
	want := []event{{kind: evHead, data: []byte("h")}, part("abc"), {kind: evError, text: "e"}, part("d")}
	for i, w := range want {
		got, err := a.next(t.Context(), time.Second)
		if err != nil || got.kind != w.kind || !bytes.Equal(got.data, w.data) || got.text != w.text {
			t.Errorf("message %d: %+v, %v", i, got, err)
		}
	}
	if a.size != 0 {
		t.Errorf("%d bytes wait", a.size)
	}
	if _, err := a.next(t.Context(), time.Millisecond); err != errGap { //nolint:errorlint // the very value
		t.Errorf("nothing came: %v", err)
	}
}

// BenchmarkEvent: one event of a stream from the worker's session to the request, and the look at its bytes.
func BenchmarkEvent(b *testing.B) {
	a, data := newAttempt(&worker{version: versionOurs}, nil), bytes.Repeat([]byte("x"), 217)
	var l look
	b.ReportAllocs()
	for b.Loop() {
		a.deliver(event{kind: evPart, data: data})
		e, err := a.next(b.Context(), time.Minute)
		if err != nil {
			b.Fatal(err)
		}
		l.see(e.data)
	}
}
