package pipeline_test

import (
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/google/go-cmp/cmp"

	"cocoon/image/deb/debtest"
	"cocoon/image/fetch"
	"cocoon/image/lock"
	"cocoon/image/pipeline"
	"cocoon/image/pipeline/pipelinetest"
)

// onlineCheckout is a checkout whose recipe names an archive that a local server has.
func onlineCheckout(t *testing.T, suite debtest.Suite) (*pipelinetest.Checkout, pipeline.Options) {
	t.Helper()
	c := ownCheckout(t)
	for _, packages := range c.Packages {
		suite.Packages = append(suite.Packages, packages...)
	}
	slices.SortFunc(suite.Packages, func(a, b debtest.Package) int { return strings.Compare(a.Name, b.Name) })
	suite.Name = "trixie"
	archive := debtest.NewArchive(t, time.Now(), suite)
	server := httptest.NewServer(archive)
	t.Cleanup(server.Close)
	c.Edit(t, "mkosi/image.toml", "http://mirror.invalid", server.URL)
	c.Write(t, "mkosi/keyring/a.asc", armored(t, archive.Key.Public(t)))
	o := c.Options()
	o.Offline = false
	return c, o
}

func armored(t *testing.T, key []byte) string {
	t.Helper()
	var out strings.Builder
	w, err := armor.Encode(&out, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write(key)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.String() + "\n"
}

func TestUpdateLockResolvesWhatTheRecipeNames(t *testing.T) {
	c, o := onlineCheckout(t, debtest.Suite{})
	update, err := pipeline.UpdateLock(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(update.Lock.Suites) != 1 || len(update.Lock.Artefacts) != 7 {
		t.Errorf("%d suites and %d artefacts, want 1 and 7", len(update.Lock.Suites), len(update.Lock.Artefacts))
	}
	if err := update.Lock.Save(pipeline.LockPath(c.Root)); err != nil {
		t.Fatal(err)
	}
	again, err := pipeline.UpdateLock(t.Context(), o)
	if err != nil || len(again.Changes) != 0 {
		t.Errorf("a second update changes %+v, %v", again, err)
	}
	o.Images = []string{"proxy"}
	if built, _ := build(t, o); built[0].Manifest.LockSHA256 == "" {
		t.Error("the image does not name its lock")
	}
}

func TestUpdateLockSaysWhatChanged(t *testing.T) {
	_, o := onlineCheckout(t, debtest.Suite{})
	update, err := pipeline.UpdateLock(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	var entries []string
	for _, c := range update.Changes {
		entries = append(entries, c.Entry)
	}
	// The packages are those that the checkout had, byte for byte; recipe and suite are new.
	if diff := cmp.Diff([]string{"recipe", "suite trixie"}, entries); diff != "" {
		t.Errorf("changed entries differ (-want +got):\n%s", diff)
	}
}

func TestUpdateLockRefusesAnotherExpiryThanTheRecipes(t *testing.T) {
	expired := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	for name, tc := range map[string]struct {
		line string
		want string
	}{
		"not accepted": {"", "expired"},
		"another date": {"accept_expired = 2001-01-01T00:00:00Z\n", "the recipe accepts only"},
		"this date":    {"accept_expired = " + expired.Format(time.RFC3339) + "\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c, o := onlineCheckout(t, debtest.Suite{ValidUntil: expired})
			c.Edit(t, "mkosi/image.toml", "components = [\"main\"]\n", "components = [\"main\"]\n"+tc.line)
			_, err := pipeline.UpdateLock(t.Context(), o)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestCheckLockComparesRecipeAndToolchain(t *testing.T) {
	c := newCheckout(t)
	if _, err := pipeline.CheckLock(t.Context(), c.Options()); err != nil {
		t.Error(err)
	}
	c.Edit(t, "mkosi/image.toml", "hello", "hullo")
	_, err := pipeline.CheckLock(t.Context(), c.Options())
	if m, ok := errors.AsType[*lock.Mismatch](err); !ok || m.What != "recipe" {
		t.Errorf("got %v, want a mismatch of the recipe", err)
	}
}

func TestFetchAllLeavesOptionalGroupsOut(t *testing.T) {
	c := ownCheckout(t)
	c.Edit(t, "mkosi/image.toml", "[kernel]\n", "[groups.tools]\nsuites = [\"trixie\"]\noptional = true\n\n[kernel]\n")
	c.Packages["tools"] = []debtest.Package{{Name: "extra", Version: "1", Files: []debtest.File{{Name: "./x", Body: "x"}}}}
	c.Relock(t)
	for optional, want := range map[bool]int{false: 7, true: 8} {
		store, arts, err := pipeline.FetchAll(t.Context(), c.Options(), optional, func(fetch.Event) {})
		if err != nil {
			t.Fatal(err)
		}
		if len(arts) != want || store.Dir() != pipeline.StoreDir(c.Cache) {
			t.Errorf("optional %v: %d artefacts in %s, want %d", optional, len(arts), store.Dir(), want)
		}
	}
}

func TestOptionsNeedTheirFolders(t *testing.T) {
	c := newCheckout(t)
	for name, unset := range map[string]func(*pipeline.Options){
		"root":  func(o *pipeline.Options) { o.Root = "" },
		"cache": func(o *pipeline.Options) { o.CacheDir = "" },
		"out":   func(o *pipeline.Options) { o.OutDir = "" },
	} {
		o := c.Options()
		unset(&o)
		if _, err := pipeline.Plan(o); err == nil || !strings.Contains(err.Error(), "no "+name+" folder") {
			t.Errorf("no %s: got %v", name, err)
		}
	}
}
