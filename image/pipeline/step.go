// Package pipeline builds images: a table of steps from the lock's inputs to the artefacts beside a manifest, run by
// a small driver with a content-addressed cache (image.md section 2).
//
// It owns the order of steps, their cache keys and the output folder; every format and every input has a package of
// its own. It trusts the recipe and the lock after their own checks, and a cached output only as long as its size and
// time stamp are the recorded ones. Run is safe for concurrent use, also by several processes on one cache: folders
// appear by one rename and never half. It refuses to touch the network when asked to be offline, and to build with
// another Go than the lock names.
package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"cocoon/measure/strictjson"
)

// Input is one pinned thing that a step reads from outside the pipeline.
type Input struct {
	Kind    string `json:"kind"` // deb, archive, recipe, go-source, go-toolchain, go-module-sum
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	SHA256  string `json:"sha256"`
}

// step is one row of the table.
type step struct {
	// Name is unique in a run: "layer base", "uki worker-cpu".
	Name string
	// Kind and Version are the step's identity in cache keys; raise Version when its code gives different bytes.
	Kind    string
	Version int
	// Needs are the steps whose results this one reads; all of them enter the key.
	Needs []string
	// Inputs and Params are everything else that decides the outputs.
	Inputs []Input
	Params any
	// Outputs are the files that Run leaves in its folder.
	Outputs []string
	// Uncached steps run every time and have no folder: checks, and what only looks.
	Uncached bool
	// Deadline bounds Run; zero means defaultDeadline.
	Deadline time.Duration
	Run      func(ctx context.Context, w *work) error
}

// defaultDeadline bounds one step; the longest light one takes seconds, hashing a heavy layer a minute.
const defaultDeadline = 10 * time.Minute

// work is what a running step sees: its folder, the results it needs, and where it leaves facts.
type work struct {
	// Dir is the folder for the outputs; empty for uncached steps.
	Dir string
	// Facts, when set, is kept with the outputs as JSON and enters the keys of later steps.
	Facts any
	// Detail is the few words on the step's line: "8,412 files".
	Detail string
	// Outputs are files of the folder beside the row's, whose names only running tells.
	Outputs []string

	needs    map[string]*Result
	progress func(done, total int64)
}

// need returns the result of a step that the row's Needs lists.
func (w *work) need(name string) (*Result, error) {
	r, ok := w.needs[name]
	if !ok {
		return nil, fmt.Errorf("reading the result of step %q: the table does not list it as needed", name)
	}
	return r, nil
}

// needPath is the path of one output of a needed step.
func (w *work) needPath(name, output string) (string, error) {
	r, err := w.need(name)
	if err != nil {
		return "", err
	}
	return r.Path(output)
}

// out is the path of one of the step's own outputs.
func (w *work) out(name string) string { return filepath.Join(w.Dir, name) }

// Output is one file of a result.
type Output struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	// ModTime in nanoseconds tells a file that was changed after the build, through a hard link say; it is local to
	// the cache and no part of any key.
	ModTime int64 `json:"modTime"`
}

// Result is what a finished step left: the cache's step.json.
type Result struct {
	Step    string          `json:"step"`
	Key     string          `json:"key"`
	Inputs  []Input         `json:"inputs"`
	Outputs []Output        `json:"outputs"`
	Facts   json.RawMessage `json:"facts,omitempty"`
	Detail  string          `json:"detail,omitempty"`

	dir string
}

// Path is where one of the result's files lies.
func (r *Result) Path(output string) (string, error) {
	if _, err := r.Output(output); err != nil {
		return "", err
	}
	return filepath.Join(r.dir, output), nil
}

// Output finds one of the result's files.
func (r *Result) Output(name string) (Output, error) {
	for _, o := range r.Outputs {
		if o.Name == name {
			return o, nil
		}
	}
	return Output{}, fmt.Errorf("step %q has no output %q", r.Step, name)
}

// facts decodes what the step left beside its files.
func (r *Result) facts(v any) error {
	if err := strictjson.Decode(r.Facts, v); err != nil {
		return fmt.Errorf("reading facts of step %q: %w", r.Step, err)
	}
	return nil
}

// digest is what a result contributes to the keys of steps that need it.
func (r *Result) digest() (string, error) {
	type file struct {
		Name   string `json:"name"`
		SHA256 string `json:"sha256"`
	}
	files := make([]file, 0, len(r.Outputs))
	for _, o := range r.Outputs {
		files = append(files, file{o.Name, o.SHA256})
	}
	return hashJSON(struct {
		Files []file          `json:"files"`
		Facts json.RawMessage `json:"facts"`
	}{files, orNull(r.Facts)})
}

// key is the cache key of image.md section 2: step name and version, input hashes, parameters.
func (s *step) key(needs map[string]*Result) (string, error) {
	type need struct {
		Step   string `json:"step"`
		SHA256 string `json:"sha256"`
	}
	used := make([]need, 0, len(s.Needs))
	for _, name := range s.Needs {
		sum, err := needs[name].digest()
		if err != nil {
			return "", fmt.Errorf("keying step %q: %w", s.Name, err)
		}
		used = append(used, need{name, sum})
	}
	key, err := hashJSON(struct {
		Kind    string   `json:"kind"`
		Version int      `json:"version"`
		Needs   []need   `json:"needs"`
		Inputs  []Input  `json:"inputs"`
		Params  any      `json:"params"`
		Outputs []string `json:"outputs"`
	}{s.Kind, s.Version, used, s.Inputs, s.Params, s.Outputs})
	if err != nil {
		return "", fmt.Errorf("keying step %q: %w", s.Name, err)
	}
	return key, nil
}

func hashJSON(v any) (string, error) {
	data, err := strictjson.Canonical(v)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

func orNull(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage("null")
	}
	return raw
}
