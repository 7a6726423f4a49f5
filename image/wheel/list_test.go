package wheel

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/image/lock"
)

func sum(c string) string { return strings.Repeat(c, 64) }

func goodList() *List {
	return &List{Wheels: []Entry{
		{Name: "numpy", Version: "2.2.6", File: "numpy-2.2.6-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", SHA256: sum("a"), Size: 10},
		{Name: "opencv-python-headless", Version: "4.14.0.94", File: "opencv_python_headless-4.14.0.94-cp37-abi3-manylinux_2_28_x86_64.whl", SHA256: sum("b"), Size: 20},
	}}
}

func TestListSurvivesARoundTrip(t *testing.T) {
	name := filepath.Join(t.TempDir(), ListName)
	if err := goodList().Save(name); err != nil {
		t.Fatal(err)
	}
	got, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(goodList(), got); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
}

func TestListRefuses(t *testing.T) {
	text, err := goodList().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ old, new, want string }{
		"other format":      {"format = 1", "format = 2", "format 2"},
		"unknown key":       {"size = 10", "size = 10\nurl = \"x\"", "unknown keys"},
		"wrong order":       {`name = "numpy"`, `name = "zumpy"`, "not in order"},
		"short hash":        {sum("a"), "aa", "64 lower-case hex"},
		"no size":           {"size = 10", "size = 0", "size: 0"},
		"other project":     {`name = "opencv-python-headless"`, `name = "opencv-python-x"`, "is a wheel of"},
		"other version":     {`version = "2.2.6"`, `version = "2.2.7"`, "has version"},
		"name not normal":   {`name = "numpy"`, `name = "Numpy"`, "does not match"},
		"no TOML":           {"format = 1", "format", "toml"},
		"source, not wheel": {"numpy-2.2.6-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", "numpy-2.2.6.tar.gz", "ending .whl"},
	} {
		t.Run(name, func(t *testing.T) {
			changed := strings.Replace(string(text), tc.old, tc.new, 1)
			if changed == string(text) {
				t.Fatalf("%q is not in the text", tc.old)
			}
			if _, err := Parse([]byte(changed)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
	if _, err := Parse([]byte("format = 1\n")); err == nil {
		t.Error("an empty list was accepted")
	}
}

const testReport = `{"version":"1","pip_version":"26.0","install":[
 {"download_info":{"url":"https://files.example/b/zeta-1.0-py3-none-any.whl","archive_info":{"hashes":{"sha256":"%[2]s"}}},
  "metadata":{"name":"Zeta","version":"1.0","requires_dist":["alpha"]},"requested":true},
 {"download_info":{"url":"https://files.example/a/alpha_beta-2.0%%2Bcu128-cp313-cp313-manylinux_2_28_x86_64.whl","archive_info":{"hashes":{"sha256":"%[1]s"}}},
  "metadata":{"name":"Alpha.Beta","version":"2.0+cu128"}}]}`

func TestReportBecomesAList(t *testing.T) {
	sizes := func(_ context.Context, address string) (int64, error) { return int64(len(address)), nil }
	got, err := FromReport(t.Context(), fmt.Appendf(nil, testReport, sum("1"), sum("2")), Interpreter{13, 41}, sizes)
	if err != nil {
		t.Fatal(err)
	}
	want := &List{Wheels: []Entry{
		{Name: "alpha-beta", Version: "2.0+cu128", File: "alpha_beta-2.0+cu128-cp313-cp313-manylinux_2_28_x86_64.whl", SHA256: sum("1"), Size: 84},
		{Name: "zeta", Version: "1.0", File: "zeta-1.0-py3-none-any.whl", SHA256: sum("2"), Size: 49},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("list (-want +got):\n%s", diff)
	}
}

func TestReportIsRefused(t *testing.T) {
	size := func(context.Context, string) (int64, error) { return 1, nil }
	good := fmt.Sprintf(testReport, sum("1"), sum("2"))
	for name, tc := range map[string]struct {
		text string
		size Sizer
		want string
	}{
		"source distribution": {strings.Replace(good, "zeta-1.0-py3-none-any.whl", "zeta-1.0.tar.gz", 1), size, "ending .whl"},
		"other Python":        {strings.Replace(good, "cp313-cp313", "cp312-cp312", 1), size, "do not fit"},
		"other format":        {strings.Replace(good, `"version":"1"`, `"version":"2"`, 1), size, "format version"},
		"no hash":             {strings.Replace(good, "sha256", "md5", 1), size, "64 lower-case hex"},
		"no JSON":             {"pip", size, "invalid character"},
		"size unknown":        {good, func(context.Context, string) (int64, error) { return 0, errors.New("no answer") }, "no answer"},
		"one project twice":   {strings.Replace(good, `"name":"Alpha.Beta"`, `"name":"zeta"`, 1), size, "there twice"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := FromReport(t.Context(), []byte(tc.text), Interpreter{13, 41}, tc.size); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestHeadSizeAsksTheServer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodHead || r.URL.Path != "/there" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Length", "12345")
	}))
	defer server.Close()
	size := HeadSize(server.Client())
	if n, err := size(t.Context(), server.URL+"/there"); err != nil || n != 12345 {
		t.Errorf("size %d, %v, want 12345", n, err)
	}
	if n, err := size(t.Context(), server.URL+"/gone"); err == nil {
		t.Errorf("size %d of a file that is not there", n)
	}
}

// page is a project's page in the simple interface, with what real ones have: relative links, entities, other files.
const page = `<!DOCTYPE html><html><body><h1>Links for zeta</h1>
<a href="../../packages/zeta-0.9.tar.gz#sha256=%[2]s">zeta-0.9.tar.gz</a><br/>
<a data-requires-python="&gt;=3.10" HREF='../../packages/zeta-1.0-py3-none-any.whl?a=1&amp;b=2#sha256=%[1]s' >zeta-1.0-py3-none-any.whl</a>
</body></html>`

func TestIndexGivesTheFileOfTheHash(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/simple/zeta/":
			fmt.Fprintf(w, page, sum("1"), sum("2")) //nolint:errcheck // test
		case "/simple/moved/":
			http.Redirect(w, r, "/simple/zeta/", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	index := Index{Base: server.URL + "/simple", Client: server.Client()}
	art := func(name, hash string) lock.Artefact {
		return lock.Artefact{Kind: lock.Wheel, Name: name, SHA256: hash, Sources: []string{"mirror"}}
	}
	want := []string{server.URL + "/packages/zeta-1.0-py3-none-any.whl?a=1&b=2", "mirror"}
	for _, name := range []string{"zeta", "moved"} {
		got, err := index.Locate(t.Context(), []lock.Artefact{{Kind: lock.Deb, Name: "libc6"}, art(name, sum("1"))})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got[1].Sources); diff != "" || got[0].Sources != nil {
			t.Errorf("%s: sources (-want +got):\n%s\nof the package: %v", name, diff, got[0].Sources)
		}
	}
	for name, a := range map[string]lock.Artefact{"hash not listed": art("zeta", sum("3")), "project not there": art("eta", sum("1"))} {
		if _, err := index.Locate(t.Context(), []lock.Artefact{a}); err == nil || !strings.Contains(err.Error(), a.Name) {
			t.Errorf("%s: error %v, want one that names the wheel", name, err)
		}
	}
}

func TestIndexComesFromTheEnvironmentOrNot(t *testing.T) {
	t.Setenv(IndexVariable, "")
	if _, err := (Index{}).Locate(t.Context(), nil); !errors.Is(err, ErrNoIndex) {
		t.Errorf("error %v, want %v", err, ErrNoIndex)
	}
	t.Setenv(IndexVariable, "file:///simple")
	if _, err := (Index{}).Locate(t.Context(), nil); err == nil || errors.Is(err, ErrNoIndex) {
		t.Errorf("error %v, want one about the scheme", err)
	}
}

func TestArtefactsHaveTheLocksForm(t *testing.T) {
	got := goodList().Artefacts("engine-gpu")
	want := lock.Artefact{
		Name: "numpy", Version: "2.2.6", Arch: "any", Kind: lock.Wheel, SHA256: sum("a"), Size: 10, Groups: []string{"engine-gpu"},
	}
	if diff := cmp.Diff(want, got[0]); diff != "" || len(got) != 2 {
		t.Errorf("%d artefacts, the first (-want +got):\n%s", len(got), diff)
	}
}

func FuzzParseList(f *testing.F) {
	text, err := goodList().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	for _, s := range []string{"", "format = 1\n", "format = 1\n[[wheel]]\nname = \"a\"\n", "format = 1\nwheel = 3\n", "[[wheel]]\nsize = -1\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := Parse(data)
		if err != nil {
			return
		}
		again, err := l.Encode()
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		second, err := Parse(again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(l, second); diff != "" {
			t.Errorf("round trip (-want +got):\n%s", diff)
		}
	})
}
