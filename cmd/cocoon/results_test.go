package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/cmd/internal/cli"
	"cocoon/image/diff"
	"cocoon/image/fetch"
	"cocoon/image/lock"
	"cocoon/image/manifest"
	"cocoon/image/pipeline"
	"cocoon/image/pipeline/pipelinetest"
	"cocoon/image/repro"
	"cocoon/tests/golden"
)

func TestClassifyGivesErrorsOfTheRoomsTheirExitCodes(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("step %q: %w", "x", err) }
	for name, tc := range map[string]struct {
		err  error
		want cli.Kind
	}{
		"cancelled":       {wrap(context.Canceled), cli.KindInterrupted},
		"late":            {wrap(context.DeadlineExceeded), cli.KindTimeout},
		"unknown image":   {wrap(pipeline.ErrUsage), cli.KindUsage},
		"no compiler":     {wrap(pipeline.ErrNoGo), cli.KindPrerequisite},
		"stale lock":      {wrap(&lock.Mismatch{What: "recipe"}), cli.KindPrerequisite},
		"missing input":   {wrap(&fetch.MissingError{}), cli.KindPrerequisite},
		"full disk":       {wrap(&fs.PathError{Op: "write", Err: syscall.ENOSPC}), cli.KindPrerequisite},
		"no permission":   {wrap(&fs.PathError{Op: "open", Err: syscall.EACCES}), cli.KindPrerequisite},
		"other artefact":  {wrap(&manifest.MismatchError{Artefact: "image.efi"}), cli.KindDifference},
		"anything else":   {errors.New("boom"), cli.KindError},
		"tagged by verb":  {cli.Usagef("x"), cli.KindUsage},
		"joined findings": {errors.Join(errors.New("a"), wrap(&fetch.MissingError{})), cli.KindPrerequisite},
	} {
		t.Run(name, func(t *testing.T) {
			if got := cli.Describe(classify(ending{}, tc.err)).Kind; got != tc.want {
				t.Errorf("kind %s, want %s", got, tc.want)
			}
		})
	}
	if classify(ending{}, nil) != nil {
		t.Error("no error became one")
	}
}

func TestACancelledCommandIsAnInterruptWhateverItsPartsSaid(t *testing.T) {
	cut := ending{interrupted: true}
	for name, tc := range map[string]struct {
		end  ending
		err  error
		want int
	}{
		"killed part":            {cut, errors.New("signal: killed"), cli.ExitInterrupted},
		"tagged by verb":         {cut, cli.Tag(cli.KindPrerequisite, errors.New("connection refused")), cli.ExitInterrupted},
		"verdict that was shown": {cut, cli.Shown(cli.KindDifference, errors.New("x")), cli.ExitDifference},
		"late part":              {ending{late: true}, cli.Tag(cli.KindPrerequisite, errors.New("no answer")), cli.ExitTimeout},
		"late word":              {ending{late: true}, cli.Usagef("x"), cli.ExitUsage},
	} {
		if got := cli.Describe(classify(tc.end, tc.err)).Code; got != tc.want {
			t.Errorf("%s: exit code %d, want %d", name, got, tc.want)
		}
	}
	if classify(cut, nil) != nil {
		t.Error("a command that had ended well became an interrupt")
	}
}

func TestHintsFitTheVerb(t *testing.T) {
	full := &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
	for building, want := range map[bool]bool{true: true, false: false} {
		hints := strings.Join(cli.Describe(classify(ending{building: building}, full)).Hints, " ")
		if hints == "" || strings.Contains(hints, "--cache") != want {
			t.Errorf("building %t: hints %q", building, hints)
		}
	}
}

func TestVerdictChoosesTheExitCode(t *testing.T) {
	for name, tc := range map[string]struct {
		result verifyResult
		want   int
	}{
		"all right":        {verifyResult{OK: true}, 0},
		"other bytes":      {verifyResult{}, cli.ExitDifference},
		"reproducible":     {verifyResult{OK: true, Rebuild: &rebuildResult{Reproducible: true}}, 0},
		"not reproducible": {verifyResult{OK: true, Rebuild: &rebuildResult{}}, cli.ExitNotReproducible},
		"reproducible, but not the image given": {
			verifyResult{Rebuild: &rebuildResult{Reproducible: true}}, cli.ExitDifference,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := 0
			if err := tc.result.verdict(); err != nil {
				got = cli.Describe(err).Code
			}
			if got != tc.want {
				t.Errorf("exit code %d, want %d", got, tc.want)
			}
		})
	}
}

func sampleOutcome() *repro.Outcome {
	report := &diff.Report{
		Inputs: []diff.InputChange{{
			Kind: "deb", Name: "libc6", A: &manifest.Input{Version: "1", SHA256: strings.Repeat("a", 64)}, B: nil,
		}},
		Artefacts: []diff.Artefact{{
			Name: "layer-base.img", Total: 3, Causes: []string{"deb libc6: 1 -> absent"},
			Findings: []diff.Finding{
				{Path: "usr/lib/libc.so.6", What: "content", A: "0x41", B: "0x42", Offset: 7},
				{Path: "etc", What: "mode", A: "0755", B: "0700", Offset: -1},
			},
		}},
	}
	return &repro.Outcome{
		Kept: "/tmp/kept", Conditions: []repro.Condition{{Name: "umask", A: "022", B: "077"}},
		Images: []repro.Image{
			{Label: "proxy", Manifest: strings.Repeat("b", 64), Report: &diff.Report{}, SameManifest: true},
			{Label: "worker-cpu", Manifest: strings.Repeat("c", 64), Report: report},
		},
	}
}

func TestARebuildThatDiffersIsExplained(t *testing.T) {
	result := verifyResult{Schema: "cocoon.image.verify/1", OK: true, Artefacts: []artefactCheck{}, Checks: []imageCheck{}, Rebuild: newRebuildResult(sampleOutcome())}
	var text strings.Builder
	if err := result.Text(&text); err != nil {
		t.Fatal(err)
	}
	want := `built twice with different:
  umask: 022 | 077
proxy: reproducible, manifest ` + strings.Repeat("b", 64) + `
worker-cpu: not reproducible
inputs that differ
  deb libc6: 1 -> absent
layer-base.img
  because  deb libc6: 1 -> absent
  usr/lib/libc.so.6  content differs first at byte 7: 0x41 | 0x42
  etc  mode: 0755 | 0700
  and 1 more differences
both builds are kept in /tmp/kept
`
	if diff := cmp.Diff(want, text.String()); diff != "" {
		t.Errorf("text differs (-want +got):\n%s", diff)
	}
	data, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate("cocoon.image.verify/1", string(data)); err != nil {
		t.Error(err)
	}
}

func TestTextsSayWhatJSONSays(t *testing.T) {
	yes, no := true, false
	for name, tc := range map[string]struct {
		doc  cli.Document
		want []string
	}{
		"verify": {
			verifyResult{
				Artefacts: []artefactCheck{{"a", true, "x", "x"}, {"b", false, "x", "y"}},
				Checks:    []imageCheck{{"c", true, false, ""}, {"d", false, false, "why"}, {"e", false, true, "other"}},
			},
			[]string{"ok        a", "differs   b: the manifest states x, the file has y", "ok        c", "wrong     d: why", "unknown   e: other"},
		},
		"rebuild of another image": {
			verifyResult{Rebuild: &rebuildResult{Images: []rebuiltImage{{Name: "p", SameAsGiven: &no}, {Name: "q", SameAsGiven: &yes}}}},
			[]string{"p: reproducible, but not the image given", "q: reproducible, manifest"},
		},
		"fetch": {fetchResult{Store: "/s", Artefacts: 2, SizeBytes: 1234, Fetched: 1, ExportedTo: "/e"}, []string{"/s: 2 artefacts, 1,234 bytes, 1 fetched", "exported to /e"}},
		"lock": {
			lockResult{Path: "/l", Changes: []lockChange{{"deb a", "", "1"}, {"deb b", "1", ""}}, Unused: []string{"base: awk"}},
			[]string{"deb a", "absent  ->  1", "->  absent", "unused exclusion in the recipe:", "not written"},
		},
		"lock written":   {lockResult{Written: true}, []string{", written"}},
		"lock unchanged": {lockResult{}, []string{", unchanged"}},
		"rm":             {rmResult{Paths: []string{"/x"}}, []string{"would delete /x"}},
		"rm done":        {rmResult{Deleted: true, Paths: []string{"/x"}}, []string{"deleted /x"}},
		"model":          {modelResult{Identity: "a@b:c", Volume: "/v", Files: 3, SizeBytes: 4096}, []string{"a@b:c\n/v: 3 files, 4,096 bytes"}},
		"plan":           {planResult{Steps: []string{"lock", "fetch"}}, []string{" 1 lock\n 2 fetch\n"}},
		"equal":          {diffResult{Equal: true}, []string{"equal: every artefact has the same bytes"}},
		"version":        {versionResult{Version: "v1", Go: "go1"}, []string{"cocoon v1 go1"}},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			if err := tc.doc.Text(&out); err != nil {
				t.Fatal(err)
			}
			for _, want := range tc.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in:\n%s", want, out.String())
				}
			}
		})
	}
}

type closed struct{}

func (closed) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestTextsReportAClosedOutput(t *testing.T) {
	for name, doc := range map[string]cli.Document{
		"verify": verifyResult{Artefacts: []artefactCheck{{Name: "a"}}}, "fetch": fetchResult{}, "lock": lockResult{}, "model": modelResult{},
		"rm": rmResult{Paths: []string{"/x"}}, "plan": planResult{Steps: []string{"a"}}, "diff": diffResult{}, "version": versionResult{},
		"ls": lsResult{}, "inspect": &inspectResult{}, "build": buildResult{Images: []imageEntry{{}}},
	} {
		if name == "diff" {
			doc = diffResult{Equal: true}
		}
		if err := doc.Text(closed{}); !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: got %v, want the output's error", name, err)
		}
	}
}

func TestConfirmAsksOnATerminalOnly(t *testing.T) {
	for name, tc := range map[string]struct {
		interactive, yes bool
		answer           string
		ok               bool
	}{
		"yes given":      {false, true, "", true},
		"no terminal":    {false, false, "y\n", false},
		"answer y":       {true, false, "y\n", true},
		"answer YES":     {true, false, "YES\n", true},
		"answer n":       {true, false, "n\n", false},
		"empty answer":   {true, false, "\n", false},
		"end of input":   {true, false, "", false},
		"a long no":      {true, false, strings.Repeat("y", 100) + "\n", false},
		"y without line": {true, false, "y", true},
	} {
		t.Run(name, func(t *testing.T) {
			var question strings.Builder
			a := &app{deps: deps{stdin: strings.NewReader(tc.answer), stderr: &question, interactive: tc.interactive}, yes: tc.yes}
			if err := a.confirm("delete x"); (err == nil) != tc.ok {
				t.Errorf("got %v", err)
			}
			if asked := strings.Contains(question.String(), "delete x? [y/N]"); asked != (tc.interactive && !tc.yes) {
				t.Errorf("asked: %v", asked)
			}
		})
	}
}

func TestGlobalFlagsComeFromTheEnvironment(t *testing.T) {
	var out, errOut strings.Builder
	d := testDeps(&out, &errOut)
	d.getenv = func(name string) string {
		return map[string]string{"COCOON_OUTPUT": "json", "COCOON_OUT": "/nowhere", "COCOON_ROOT": golden.Root(t), "COCOON_CACHE": "/c"}[name]
	}
	if code := run([]string{"image", "ls"}, d); code != 0 {
		t.Fatalf("exit code %d: %s", code, errOut.String())
	}
	if err := validate("cocoon.image.ls/1", out.String()); err != nil || !strings.Contains(out.String(), "/nowhere") {
		t.Errorf("output %s, %v", out.String(), err)
	}
	out.Reset()
	if code := run([]string{"image", "ls", "-o", "text"}, d); code != 0 || strings.Contains(out.String(), "{") {
		t.Errorf("a flag does not win over the environment: %s", out.String())
	}
}

func TestACommandThatTakesTooLongEndsWithItsOwnCode(t *testing.T) {
	c := pipelinetest.New(t, t.TempDir(), "")
	var out, errOut strings.Builder
	args := []string{"image", "build", "--offline", "--timeout", "1ns", "--root", c.Root, "--cache", c.Cache, "--out", c.Out}
	if code := run(args, testDeps(&out, &errOut)); code != cli.ExitTimeout {
		t.Errorf("exit code %d, want %d: %s", code, cli.ExitTimeout, errOut.String())
	}
}
