package registry

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
	"cocoon/contracts/pricing"
)

func TestTermsAreTheRootsParametersInBounds(t *testing.T) {
	n := newNet(t)
	s := n.snapshot()
	s.Params.CompletionMultiplier, s.Version = 80_000, 9
	want := Terms{ConfigVersion: 9, ParamsVersion: 1, Price: 20, WorkerFee: 19, Multipliers: pricing.Multipliers{
		Prompt: int64(s.Params.PromptMultiplier), Cached: int64(s.Params.CachedMultiplier), Completion: 80_000, Reasoning: int64(s.Params.ReasoningMultiplier),
	}}
	got, err := s.Terms()
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	for name, spoil := range map[string]func(s *Snapshot){
		"version":       func(s *Snapshot) { s.Version = math.MaxInt32 + 1 },
		"paramsversion": func(s *Snapshot) { s.Params.ParamsVersion = math.MaxUint32 },
		"multiplier":    func(s *Snapshot) { s.Params.ReasoningMultiplier = math.MaxInt32 + 1 },
		"price":         func(s *Snapshot) { s.Params.PricePerToken = maxPrice + 1 },
		"fee":           func(s *Snapshot) { s.Params.WorkerFee = 21 },
	} {
		bad := *s
		spoil(&bad)
		if got, err := bad.Terms(); err == nil {
			t.Errorf("%s: accepted as %+v", name, got)
		}
	}
}

func TestWhatIsNotListedIsNamedWithTheVersion(t *testing.T) {
	s := newNet(t).snapshot()
	s.ModelHashes, s.Version = []bind.Hash{ModelHash("a@b:c")}, 12
	if err := errors.Join(s.CheckModel("a@b:c"), s.CheckImage(Workers, hashOf(1))); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		err  error
		text string
	}{
		{s.CheckModel("x@b:c"), "model x@b:c not in root version 12"},
		{s.CheckImage(Proxies, hashOf(1)), "image hash " + strings.Repeat("0", 63) + "1 (proxy) not in root version 12"},
		{s.CheckImage(Models, ModelHash("a@b:c")), "not in root version 12"},
	} {
		missing, ok := errors.AsType[*NotListedError](c.err)
		if !ok || !strings.HasSuffix(missing.Error(), c.text) || !strings.Contains(missing.Advice(), "publish") {
			t.Errorf("%v, want %s", c.err, c.text)
		}
	}
}

func TestRegisteredProxiesAreReadByTheSideTheyServe(t *testing.T) {
	s := &Snapshot{RootStorage: bind.RootStorage{Proxies: []bind.RegisteredProxy{
		{Seqno: 1, Addr: "1.2.3.4:5"},
		{Seqno: 2, Addr: "1.2.3.4:5 6.7.8.9:10"},
		{Seqno: 3, Addr: "a:1 b:2 c:3"},
		{Seqno: 4, Addr: "no port"},
		{Seqno: 5, Addr: "h:0"},
		{Seqno: 6, Addr: "h\n:1"},
		{Seqno: 7, Addr: ""},
		{Seqno: 8, Addr: "h:1 "},
	}}}
	want := []Registered{{1, "1.2.3.4:5", "1.2.3.4:5"}, {2, "1.2.3.4:5", "6.7.8.9:10"}}
	if diff := cmp.Diff(want, s.Registered()); diff != "" {
		t.Error(diff)
	}
}

func TestASavedSnapshotIsReadAsItWas(t *testing.T) {
	n := newNet(t)
	s, path := n.snapshot(), filepath.Join(t.TempDir(), "root.json")
	if _, err := Load(path, n.root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing saved: %v", err)
	}
	if err := s.Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path, n.root)
	if err != nil {
		t.Fatal(err)
	}
	if !got.Equal(s) || got.Block != s.Block || !got.Has(Workers, hashOf(1)) || *got.Code != *s.Code {
		t.Errorf("%+v, was %+v", got.Block, s.Block)
	}
	if _, err := Load(path, n.owner); !errors.Is(err, ErrSaved) {
		t.Errorf("as another root: %v", err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(whole); i += 97 {
		if _, err := parseSaved(whole[:i], n.root); err == nil {
			t.Errorf("cut to %d bytes: accepted", i)
		}
	}
	if err := os.WriteFile(path, append(whole, whole...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, n.root); !errors.Is(err, ErrSaved) {
		t.Errorf("twice: %v", err)
	}
}

func TestAWatcherBeginsWithWhatWasKnownUntilThatIsTooOld(t *testing.T) {
	n := newNet(t)
	s := n.snapshot()
	now := s.Block.Time.Add(time.Hour)
	w, err := NewWatcher(Config{Chain: n, Root: n.root, Now: func() time.Time { return now }, Initial: s})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := w.Snapshot(); err != nil || got != s {
		t.Errorf("%v, %v", got, err)
	}
	now = now.Add(MaxAge)
	if _, err := w.Snapshot(); !errors.Is(err, chain.ErrStaleHead) {
		t.Errorf("too old: %v", err)
	}
}

func FuzzSavedSnapshot(f *testing.F) {
	root := addr(1)
	for _, seed := range []string{
		"", "{}", `{"schema":"cocoon.root_snapshot/1"}`, "null",
		`{"schema":"cocoon.root_snapshot/1","root":"` + root.StringRaw() + `","seqno":1,"code":"te6ccgEBAQEAAgAAAA==","data":"te6ccgEBAQEAAgAAAA=="}`,
		`{"schema":"cocoon.root_snapshot/1","root":"` + root.StringRaw() + `","seqno":1,"code":"AAAA","data":""}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseSaved(data, root)
		if err != nil {
			return
		}
		if again, err := s.encode(); err != nil || string(again) != string(data) {
			t.Errorf("read and written again: %v", err)
		}
	})
}
