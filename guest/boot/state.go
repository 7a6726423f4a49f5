package boot

import (
	"log/slog"
	"path/filepath"
	"sync"

	"cocoon/guest/config"
	"cocoon/guest/rtmr"
	"cocoon/measure/bootfiles"
	"cocoon/measure/spec"
	"cocoon/measure/tdx"
)

// State is what the stages learn. A field is set by one stage and read by later ones.
type State struct {
	// Log is the guest's logger.
	Log *slog.Logger
	// Image is etc/image.json (console stage). Its zero value counts as production.
	Image bootfiles.Image
	// Cmdline is the accepted command line (cmdline stage).
	Cmdline string
	// Software says that the registers are in memory and prove nothing (td stage; test variant only).
	Software bool
	// Simulated says that the registers are those of the host's software TDX, which quotes them, and prove nothing either.
	Simulated bool
	// Registers extends RTMR3 and keeps the text log (td stage).
	Registers *rtmr.Log
	// SpecHash names the measured spec; Spec is its files; Measured is role.json in it (config stage).
	SpecHash spec.Hash
	Spec     []spec.File
	Measured *config.Measured
	// Runtime is the host's unmeasured wishes (config stage). It is never nil afterwards.
	Runtime *config.Runtime
	// Layers is etc/layers.json (base stage).
	Layers []bootfiles.Layer
	// ModelDir is where the model volume is mounted, empty when there is none; ModelNode is its verity device (model stage).
	ModelDir, ModelNode string

	deps *Deps

	mu       sync.Mutex // guards the fields below: an abandoned stage may still write them
	detail   map[string]any
	statuses []Status
	ready    bool
	volumes  []volume
}

// volume is something to unmount and remove at power-off.
type volume struct{ name, mount string }

// NewState makes the state of a boot that has not begun.
func NewState(deps *Deps) *State {
	return &State{Log: slog.New(deps.Log), deps: deps}
}

// Detail adds one fact to the status of the running stage. Keys are stable: tests match on them.
func (st *State) Detail(key string, value any) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.detail == nil {
		st.detail = make(map[string]any)
	}
	st.detail[key] = value
}

func (st *State) takeDetail() map[string]any {
	st.mu.Lock()
	defer st.mu.Unlock()
	d := st.detail
	st.detail = nil
	return d
}

// SetReady publishes or withdraws readiness.
func (st *State) SetReady(ready bool) {
	st.mu.Lock()
	st.ready = ready
	st.mu.Unlock()
	st.writeDocument()
}

// Extend extends RTMR3 with a message and reports the new value in the stage's status.
func (st *State) Extend(message string) (tdx.Digest, error) {
	value, err := st.Registers.Extend(message)
	if err != nil {
		return value, err
	}
	st.Detail("message", message)
	st.Detail("rtmr3", value.String())
	st.detailImitation()
	return value, nil
}

// detailImitation marks a status whose registers prove nothing.
func (st *State) detailImitation() {
	if st.Software {
		st.Detail("software", true)
	}
	if st.Simulated {
		st.Detail("simulated", true)
	}
}

// LayersOf lists the layers of a role, in mount order.
func (st *State) LayersOf(role bootfiles.Role) []bootfiles.Layer {
	var out []bootfiles.Layer
	for _, l := range st.Layers {
		if l.Role == role {
			out = append(out, l)
		}
	}
	return out
}

// path puts an absolute guest path below the root that the tests use.
func (st *State) path(abs string) string { return filepath.Join(st.deps.Root, abs) }
