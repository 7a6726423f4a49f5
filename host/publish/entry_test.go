package publish

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/contracts/registry"
)

func TestEntriesReadBack(t *testing.T) {
	want := []Entry{
		{List: registry.Workers, Hash: hashOf(1), Name: "worker-cpu", Variant: "production", Manifest: hashOf(9)},
		{List: registry.Models, Hash: hashOf(2)},
	}
	got := must[[]Entry](t)(ParseEntries(must[[]byte](t)(EncodeEntries(want))))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries differ (-want +got):\n%s", diff)
	}
}

func prediction(profile, variant, hash string) string {
	return `{"schema":"cocoon.measure.predict/1","image":{"name":"x","profile":"` + profile + `","variant":"` + variant +
		`"},"firmware":{},"predictions":[{"shape":"s"` + hash + `}]}`
}

func TestAPredictionNamesListAndHash(t *testing.T) {
	h := strings.Repeat("ab", 32)
	got := must[[]Entry](t)(ParseEntries([]byte(prediction("proxy", "test", `,"imageHash":"`+h+`"`))))
	if len(got) != 1 || got[0].List != registry.Proxies || fmt.Sprintf("%x", got[0].Hash) != h || got[0].Variant != "test" {
		t.Errorf("%+v", got)
	}
}

func TestEntriesRefuse(t *testing.T) {
	h := strings.Repeat("ab", 32)
	list := func(e string) string { return `{"schema":"cocoon.publish.entries/1","entries":[` + e + `]}` }
	for name, tc := range map[string]struct{ doc, want string }{
		"not JSON":        {`{`, "reading entries"},
		"another schema":  {`{"schema":"cocoon.version/1"}`, "is neither"},
		"nothing":         {list(``), "0 entries"},
		"an unknown list": {list(`{"list":"gateway","hash":"` + h + `"}`), "entries[0]"},
		"half a hash":     {list(`{"list":"worker","hash":"abcd"}`), "64 hexadecimal digits"},
		"the zero hash":   {list(`{"list":"worker","hash":"` + strings.Repeat("0", 64) + `"}`), "zero"},
		"another key":     {list(`{"list":"worker","hash":"` + h + `","Hash":"` + h + `"}`), "reading entries"},
		"no spec":         {prediction("proxy", "test", ""), "--spec"},
		"another profile": {prediction("gateway", "test", `,"imageHash":"`+h+`"`), "on no list"},
		"a bad hash":      {prediction("proxy", "test", `,"imageHash":"12"`), "shape s"},
		"too long":        {strings.Repeat(" ", maxEntryFile+1), "at most"},
		"too many":        {list(strings.TrimSuffix(strings.Repeat(`{"list":"worker","hash":"`+h+`"},`, maxEntries+1), ",")), "257 entries"},
	} {
		if _, err := ParseEntries([]byte(tc.doc)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, tc.want)
		}
	}
}

func FuzzParseEntries(f *testing.F) {
	h := strings.Repeat("ab", 32)
	for _, seed := range []string{
		`{"schema":"cocoon.publish.entries/1","entries":[{"list":"worker","hash":"` + h + `"}]}`,
		`{"schema":"cocoon.publish.entries/1","entries":[]}`, prediction("proxy", "test", `,"imageHash":"`+h+`"`),
		prediction("worker", "", ""), `{"schema":"cocoon.publish.entries/1","entries":[{"list":"model","hash":"` + h + `","manifest_sha256":"` + h + `"}]}`, `[]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := ParseEntries(data)
		if err != nil {
			return
		}
		out, err := EncodeEntries(entries)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseEntries(out)
		if err != nil || !cmp.Equal(entries, back) {
			t.Errorf("%+v reads back as %+v, %v", entries, back, err)
		}
	})
}
