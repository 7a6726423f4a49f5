package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"syscall"

	"cocoon/cmd/internal/cli"
	"cocoon/image/manifest"
	"cocoon/measure/eventlog"
	"cocoon/measure/tdx"
)

func setupDiff(fs *flag.FlagSet) action {
	var f predictFlags
	f.register(fs)
	quotePath := fs.String("quote", "", "quote `file`, when a manifest is compared with a log")
	kind := fs.String("log-kind", string(kindTD), kindFlag)
	return func(ctx context.Context, e *env, operands []string) error {
		a, err := isManifest(operands[0])
		if err != nil {
			return err
		}
		b, err := isManifest(operands[1])
		if err != nil {
			return err
		}
		switch {
		case a && b:
			return diffManifests(e, operands[0], operands[1])
		case !a && !b:
			return diffLogs(e, operands[0], operands[1], logKind(*kind))
		case b:
			operands[0], operands[1] = operands[1], operands[0]
		}
		log, err := readLog(operands[1], logKind(*kind))
		if err != nil {
			return err
		}
		var quoted *tdx.Measurements
		if *quotePath != "" {
			quote, err := readQuote(*quotePath)
			if err != nil {
				return err
			}
			quoted = &quote.TD.Measurements
		}
		predicted, err := f.predict(ctx, e, operands[0])
		if err != nil {
			return err
		}
		return check(e, predicted, log, quoted)
	}
}

// isManifest tells a manifest (a folder, or JSON) from an event log, whose first byte is a register number.
func isManifest(path string) (bool, error) {
	f, err := os.Open(path) //nolint:gosec // the operator names the file
	if err != nil {
		return false, cli.Misnamed(path, err)
	}
	defer f.Close() //nolint:errcheck // read side
	var first [1]byte
	switch _, err := io.ReadFull(f, first[:]); {
	case errors.Is(err, syscall.EISDIR):
		return true, nil
	case errors.Is(err, io.EOF):
		return false, cli.Usagef("%s is empty", path)
	case err != nil:
		return false, cli.Misnamed(path, err)
	}
	return first[0] == '{', nil
}

// diffDoc is the document of `diff` between two things of a kind.
type diffDoc struct {
	Schema      string       `json:"schema"`
	OK          bool         `json:"ok"`
	Differences []difference `json:"differences"`
}

// difference is one place in which A and B are not equal.
type difference struct {
	What string `json:"what"`
	A    string `json:"a"`
	B    string `json:"b"`
}

// Text prints a block for each difference, the responsible inputs first.
func (d *diffDoc) Text(w io.Writer) error {
	if d.OK {
		_, err := fmt.Fprintln(w, "equal")
		return err
	}
	for _, x := range d.Differences {
		if _, err := fmt.Fprintf(w, "%s\n  A %s\n  B %s\n", x.What, x.A, x.B); err != nil {
			return err
		}
	}
	return nil
}

// finish prints the document; differences are exit code 3.
func (d *diffDoc) finish(e *env, what string) error {
	d.OK = len(d.Differences) == 0
	if err := e.result(d); err != nil {
		return err
	}
	if !d.OK {
		return cli.Tag(cli.KindDifference, fmt.Errorf("the two %s differ: %s", what, d.Differences[0].What))
	}
	return nil
}

func diffLogs(e *env, a, b string, kind logKind) error {
	logA, err := readLog(a, kind)
	if err != nil {
		return err
	}
	logB, err := readLog(b, kind)
	if err != nil {
		return err
	}
	found, err := eventlog.Diff(logA, logB)
	if err != nil {
		return cli.Tag(cli.KindUsage, err)
	}
	doc := &diffDoc{Schema: "cocoon.measure.diff/1", Differences: []difference{}}
	for _, d := range found {
		doc.Differences = append(doc.Differences, difference{
			What: fmt.Sprintf("%s, event %d", registerName(logA, d.Index), d.Position), A: nameEvent(d.A), B: nameEvent(d.B),
		})
	}
	return doc.finish(e, "logs")
}

func nameEvent(e *eventlog.Event) string {
	if e == nil {
		return "end of log"
	}
	return fmt.Sprintf("%s %s %x", e.Type, e.Describe(), e.Digest(eventlog.SHA384))
}

// diffManifests compares inputs before outputs: a different input explains a different artefact.
func diffManifests(e *env, a, b string) error {
	ma, err := openBuild(a)
	if err != nil {
		return err
	}
	mb, err := openBuild(b)
	if err != nil {
		return err
	}
	doc := &diffDoc{Schema: "cocoon.measure.diff/1", Differences: []difference{}}
	add := func(what, x, y string) {
		if x != y {
			doc.Differences = append(doc.Differences, difference{what, x, y})
		}
	}
	add("go toolchain", ma.Toolchain.Go, mb.Toolchain.Go)
	add("go.sum", ma.Toolchain.GoSum, mb.Toolchain.GoSum)
	add("lock", ma.LockSHA256, mb.LockSHA256)
	add("recipe", ma.RecipeSHA256, mb.RecipeSHA256)
	doc.Differences = append(doc.Differences, compareNamed("input", inputHashes(ma.Manifest), inputHashes(mb.Manifest))...)
	add("image name", ma.Image.Name, mb.Image.Name)
	add("variant", string(ma.Image.Variant), string(mb.Image.Variant))
	add("command line", ma.Cmdline, mb.Cmdline)
	add("epoch", fmt.Sprint(ma.Epoch), fmt.Sprint(mb.Epoch))
	add("shape", ma.Profile, mb.Profile)
	doc.Differences = append(doc.Differences, compareNamed("layer", layerHashes(ma.Manifest), layerHashes(mb.Manifest))...)
	doc.Differences = append(doc.Differences, compareNamed("artefact", artefactHashes(ma.Manifest), artefactHashes(mb.Manifest))...)
	return doc.finish(e, "manifests")
}

// named is a hash under a name.
type named struct{ name, hash string }

func inputHashes(m *manifest.Manifest) []named {
	out := make([]named, len(m.Inputs))
	for i, in := range m.Inputs {
		out[i] = named{in.Kind + " " + in.Name, in.Version + " " + in.SHA256}
	}
	return out
}

func layerHashes(m *manifest.Manifest) []named {
	out := make([]named, len(m.Layers))
	for i, l := range m.Layers {
		out[i] = named{l.ID, l.RootHash}
	}
	return out
}

func artefactHashes(m *manifest.Manifest) []named {
	out := make([]named, len(m.Artefacts))
	for i, a := range m.Artefacts {
		out[i] = named{a.Name, a.SHA256}
	}
	return out
}

// compareNamed lists what is missing on either side or has another hash, in the order of a, then what only b has.
func compareNamed(what string, a, b []named) []difference {
	const absent = "absent"
	a, b = numbered(a), numbered(b)
	inB := make(map[string]string, len(b))
	for _, x := range b {
		inB[x.name] = x.hash
	}
	var out []difference
	seen := make(map[string]bool, len(a))
	for _, x := range a {
		seen[x.name] = true
		other, ok := inB[x.name]
		switch {
		case !ok:
			out = append(out, difference{what + " " + x.name, x.hash, absent})
		case other != x.hash:
			out = append(out, difference{what + " " + x.name, x.hash, other})
		}
	}
	for _, x := range b {
		if !seen[x.name] {
			out = append(out, difference{what + " " + x.name, absent, x.hash})
		}
	}
	return out
}

// numbered tells apart entries of one name, such as a package that two layers take from different releases.
func numbered(list []named) []named {
	out := make([]named, len(list))
	count := make(map[string]int, len(list))
	for i, x := range list {
		count[x.name]++
		if n := count[x.name]; n > 1 {
			x.name = fmt.Sprintf("%s (%d)", x.name, n)
		}
		out[i] = x
	}
	return out
}
