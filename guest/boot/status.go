package boot

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"cocoon/measure/bootfiles"
)

// Schemas of what the boot writes, and the prefix of its console lines.
const (
	LinePrefix     = "COCOON "
	StageSchema    = "cocoon.boot.stage/1"
	DocumentSchema = "cocoon.boot/1"
	EndSchema      = "cocoon.boot.end/1"
	// StatusPath is where the status document lies.
	StatusPath = "/run/cocoon/boot.json"
)

// Outcome is how a stage ended.
type Outcome string

// The outcomes.
const (
	OK      Outcome = "ok"
	Failed  Outcome = "failed"
	Skipped Outcome = "skipped"
)

// Status is one stage's result.
type Status struct {
	Schema     string  `json:"schema"`
	Stage      string  `json:"stage"`
	Status     Outcome `json:"status"`
	DurationMS int64   `json:"duration_ms"`
	// Detail holds what the stage found, by stable keys.
	Detail map[string]any `json:"detail,omitempty"`
	// Reason says why a stage was skipped, Error why it failed.
	Reason string `json:"reason,omitempty"`
	Error  string `json:"error,omitempty"`
}

// Document is the status of a whole boot.
type Document struct {
	Schema string           `json:"schema"`
	Image  *bootfiles.Image `json:"image,omitempty"`
	Stages []Status         `json:"stages"`
	// Ready is true from the last stage on and false again once the guest stops.
	Ready bool `json:"ready"`
}

// End is the last line before the machine is powered off.
type End struct {
	Schema string `json:"schema"`
	// Result is failed or stopped; Stage and Error are set when it is failed.
	Result string `json:"result"`
	Stage  string `json:"stage,omitempty"`
	Error  string `json:"error,omitempty"`
}

// printLine writes one console line. JSON escapes control characters, so a hostile string stays on its line.
func (st *State) printLine(l slog.Level, v any) {
	raw, err := json.Marshal(v)
	if err != nil { // a detail that has no JSON form is a bug of its stage; the line must appear all the same
		raw = fmt.Appendf(nil, `{"schema":%q,"error":%q}`, StageSchema, err.Error())
	}
	st.deps.Log.Line(l, LinePrefix+string(raw))
}

// record keeps a stage's status, prints it and rewrites the status document.
func (st *State) record(s Status) {
	level := slog.LevelInfo
	if s.Status == Failed {
		level = slog.LevelError
	}
	st.printLine(level, s)
	st.mu.Lock()
	st.statuses = append(st.statuses, s)
	st.mu.Unlock()
	st.writeDocument()
}

// reached reports whether a stage has ended, well or badly.
func (st *State) reached(stage string) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return slices.ContainsFunc(st.statuses, func(s Status) bool { return s.Stage == stage })
}

// Document is the status so far.
func (st *State) Document() Document {
	st.mu.Lock()
	defer st.mu.Unlock()
	doc := Document{Schema: DocumentSchema, Stages: append([]Status(nil), st.statuses...), Ready: st.ready}
	if st.Image.Name != "" {
		img := st.Image
		doc.Image = &img
	}
	return doc
}

// writeDocument replaces the document in one step. Before the mounts stage there is no place for it; afterwards a
// failure to write it is logged and does not stop the boot, because nothing that decides depends on it.
func (st *State) writeDocument() {
	path := st.path(StatusPath)
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return
	}
	raw, err := json.Marshal(st.Document())
	if err == nil {
		err = os.WriteFile(path+".new", append(raw, '\n'), 0o644) // every service may read it
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		st.Log.Warn("Status document not written", slog.String("err", err.Error()))
	}
}
