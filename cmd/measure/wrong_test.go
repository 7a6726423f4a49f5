package main

import (
	"bytes"
	"context"
	"flag"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"cocoon/cmd/internal/cli"
	"cocoon/cmd/internal/clitest"
	"cocoon/host/probe"
	"cocoon/measure/measuretest"
)

// tool is this command. It asks nobody for a home: what it reads and writes is named on its command line.
var tool = clitest.Program{
	Error: "measure: error: ", Hint: "measure: hint: ",
	Run: func(_ string, words ...string) clitest.Answer {
		var out, errs bytes.Buffer
		code := run(context.Background(), testEnv(&out, &errs), words)
		return clitest.Answer{Code: code, Out: out.String(), ErrOut: errs.String()}
	},
}

// TestEveryVerbRefusesWrongWords: a wrong flag, a word too many, a time that is none. The text says what to do next, and who
// asked for documents gets one.
func TestEveryVerbRefusesWrongWords(t *testing.T) {
	t.Parallel()
	table := verbs()
	document, err := jsonschema.NewCompiler().Compile(filepath.Join("..", "cocoon", "schema", "cocoon.error.1.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range table {
		wrong := map[string][]string{
			"flag": {"--no-such-flag"}, "short flag": {"-Z"}, "value": {"--timeout", "soon"}, "empty format": {"-o", ""},
			"words": slices.Repeat([]string{"word"}, v.count[1]+1), "time": append(slices.Repeat([]string{"word"}, v.count[0]), "--timeout", "-1s"),
		}
		if v.count[0] > 0 {
			wrong["nothing"] = nil
		}
		for name, more := range wrong {
			tool.Refuses(t, name, append([]string{v.name}, more...)...)
			if name == "empty format" {
				continue
			}
			a := tool.Run("", slices.Concat([]string{v.name}, more, []string{"-o", "json"})...)
			if err := document.Validate(decoded(t, a.Out)); err != nil {
				t.Errorf("%s, wrong %s, as JSON: %v\n%s", v.name, name, err, a.Out)
			}
		}
	}
	tool.Refuses(t, "verb", "predicted")
	if a := tool.Run(""); a.Code != cli.ExitUsage || tool.Complaint(a) != nil {
		t.Errorf("no verb: exit code %d\n%s", a.Code, a.ErrOut)
	}
	if len(table) < 14 {
		t.Errorf("%d verbs were tried", len(table))
	}
}

func decoded(t *testing.T, text string) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Errorf("%q: %v", text, err)
	}
	return v
}

// TestEveryVerbHasHelp with a sentence, examples that begin with the verb, every flag explained.
func TestEveryVerbHasHelp(t *testing.T) {
	t.Parallel()
	for _, v := range verbs() {
		a := tool.Run("", v.name, "-h")
		if a.Code != cli.ExitOK || a.ErrOut != "" || !strings.HasSuffix(v.summary, ".") || len(v.examples) == 0 {
			t.Errorf("%s: exit code %d, %q", v.name, a.Code, a.ErrOut)
		}
		for _, x := range v.examples {
			if !strings.HasPrefix(x, "measure "+v.name) {
				t.Errorf("%s: example %q", v.name, x)
			}
		}
		fs := flag.NewFlagSet(v.name, flag.ContinueOnError)
		fs.SetOutput(io.Discard)
		v.setup(fs)
		fs.VisitAll(func(f *flag.Flag) {
			if f.Usage == "" || !strings.Contains(a.Out, "--"+f.Name) {
				t.Errorf("%s: flag %s is not explained", v.name, f.Name)
			}
		})
	}
}

// TestWrongFilesAreRefused wherever a verb reads one: by name, with the exit code of the table, in bounded memory.
func TestWrongFilesAreRefused(t *testing.T) {
	t.Parallel()
	const address = "0:1111111111111111111111111111111111111111111111111111111111111111"
	onChain := " --root-contract " + address + " --network localnet --global-config "
	p := newPlatform(t)
	quote := p.with(t, measuretest.Spec{})
	image := buildImage(t, imageParts{})
	table := map[string]clitest.Reads{
		"predict":               {Line: "predict FILE", Wrong: cli.ExitUsage},
		"explain":               {Line: "explain FILE", Wrong: cli.ExitUsage},
		"check --quote":         {Line: "check --quote FILE --prediction FILE", Wrong: cli.ExitUsage},
		"diff":                  {Line: "diff FILE FILE", Wrong: cli.ExitUsage},
		"replay --ccel":         {Line: "replay --ccel FILE", Wrong: cli.ExitUsage},
		"firmware":              {Line: "firmware FILE", Wrong: cli.ExitUsage},
		"profile":               {Line: "profile FILE", Wrong: cli.ExitUsage},
		"image":                 {Line: "image FILE", Wrong: cli.ExitUsage, Any: []string{"endless"}}, // half a gigabyte of it would be read
		"quote":                 {Line: "quote FILE", Wrong: cli.ExitUsage},
		"spec":                  {Line: "spec FILE", Wrong: cli.ExitUsage, Any: []string{"folder"}},
		"shape":                 {Line: "shape FILE", Wrong: cli.ExitUsage},
		"publish":               {Line: "publish FILE --spec FILE" + onChain + "FILE", Wrong: cli.ExitUsage},
		"publish --sign-with":   {Line: "publish --model m --sign-with FILE" + onChain + "FILE", Wrong: cli.ExitUsage},
		"publish --global":      {Line: "publish --model m" + onChain + "FILE", Wrong: cli.ExitUsage},
		"audit":                 {Line: "audit FILE --spec FILE" + onChain + "FILE", Wrong: cli.ExitUsage},
		"audit --global-config": {Line: "audit" + onChain + "FILE", Wrong: cli.ExitUsage},
		"quote --root":          {Line: "quote " + quote + " --root FILE", Wrong: cli.ExitUsage},
		"quote --policy":        {Line: "quote " + quote + " --root " + p.root + " --collateral " + p.bundle + " --policy FILE", Wrong: cli.ExitUsage},
		"quote --collateral":    {Line: "quote " + quote + " --root " + p.root + " --collateral FILE", Wrong: cli.ExitDifference},
		"check --ccel":          {Line: "check --quote " + quote + " --prediction FILE --ccel FILE", Wrong: cli.ExitUsage},
		"check --prediction":    {Line: "check --quote " + quote + " --prediction FILE", Wrong: cli.ExitUsage},
		"check --manifest":      {Line: "check --quote " + quote + " --manifest FILE", Wrong: cli.ExitUsage},
		"replay --quote":        {Line: "replay --ccel " + vector(t, "attestation/ccel_data.dat.gz") + " --quote FILE", Wrong: cli.ExitUsage},
		"diff --quote":          {Line: "diff " + image + " " + vector(t, "attestation/ccel_data.dat.gz") + " --quote FILE", Wrong: cli.ExitUsage},
		"predict --shape":       {Line: "predict " + image + " --shape FILE", Wrong: cli.ExitUsage},
	}
	if _, err := probe.Find(t.Context(), ""); err == nil { // these are read when there is a QEMU
		table["predict --firmware"] = clitest.Reads{Line: "predict " + image + " --firmware FILE", Wrong: cli.ExitUsage}
		table["predict --profile"] = clitest.Reads{Line: "predict " + image + " --profile FILE", Wrong: cli.ExitUsage}
		table["predict --spec"] = clitest.Reads{Line: "predict " + image + " --spec FILE", Wrong: cli.ExitUsage, Any: []string{"folder"}}
	}
	for name, tc := range table {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tool.RefusesFiles(t, tc)
		})
	}
}

// TestResultsThatCannotBeWrittenAreErrors of every verb that only prints.
func TestResultsThatCannotBeWrittenAreErrors(t *testing.T) {
	t.Parallel()
	image := buildImage(t, imageParts{})
	for _, line := range []string{
		"shape", "shape -o json", "shape test", "selftest", "spec " + specDir(t, "{}"), "diff " + image + " " + image,
		"image " + filepath.Join(image, "image.efi"), "quote " + newPlatform(t).with(t, measuretest.Spec{}),
		"replay --ccel " + vector(t, "attestation/ccel_data.dat.gz"),
	} {
		var errs bytes.Buffer
		code := run(context.Background(), testEnv(clitest.Full{}, &errs), strings.Fields(line))
		if code != cli.ExitError || !strings.Contains(errs.String(), clitest.ErrFull.Error()) {
			t.Errorf("%s: exit code %d, %s", line, code, errs.String())
		}
	}
}
