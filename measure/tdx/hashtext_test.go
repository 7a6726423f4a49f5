package tdx_test

import (
	"testing"

	"cocoon/measure/tdx"
)

func TestImageHashesSurviveTheirText(t *testing.T) {
	t.Parallel()
	want := tdx.Hash{1, 2, 3}
	var got tdx.Hash
	if text, err := want.MarshalText(); err != nil || got.UnmarshalText(text) != nil || got != want {
		t.Errorf("%s became %s (%v)", want, got, err)
	}
	for _, text := range []string{"", "00", string(make([]byte, 64))} {
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is an image hash", text)
		}
	}
}
