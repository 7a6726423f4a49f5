package eventlog_test

import (
	"testing"

	"cocoon/measure/eventlog"
)

func TestEventTypesSurviveTheirText(t *testing.T) {
	t.Parallel()
	for _, want := range []eventlog.EventType{eventlog.Separator, eventlog.VariableBoot, eventlog.HandoffTables2, 0x12345678, 0x999} {
		text, err := want.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var got eventlog.EventType
		if err := got.UnmarshalText(text); err != nil || got != want {
			t.Errorf("%s became %s (%v)", want, got, err)
		}
	}
	var got eventlog.EventType
	if err := got.UnmarshalText([]byte("EV_NONSENSE")); err == nil {
		t.Error("nonsense is an event type")
	}
}
