package follow

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"cocoon/contracts/chain"
	"cocoon/contracts/registry"
)

// Reason is why a root cannot be decided by, as /readyz lists it (protocol.md section 8.1).
type Reason string

// The reasons. Stale is the network's word, the others are ours.
const (
	// Stale: the newest block that can be had is too old.
	Stale Reason = "root_config_stale"
	// Unread: nothing was ever read, and nobody answers.
	Unread Reason = "root_config_unread"
	// Foreign: the root, or the liteservers, are of another network, or it is no root.
	Foreign Reason = "root_config_invalid"
)

// ReasonOf classifies an error of Snapshot.
func ReasonOf(err error) Reason {
	for _, c := range []struct {
		is     error
		reason Reason
	}{
		{registry.ErrNetwork, Foreign},
		{registry.ErrNotRoot, Foreign},
		{chain.ErrForked, Foreign},
		{chain.ErrProof, Foreign},
		{chain.ErrStaleHead, Stale},
	} {
		if errors.Is(err, c.is) {
			return c.reason
		}
	}
	return Unread
}

// Light is how well the chain is, by the age of its newest known block.
type Light string

// The lights.
const (
	Green Light = "green"
	Amber Light = "amber"
	Red   Light = "red"
)

// LightOf is the light of an age.
func LightOf(age time.Duration) Light {
	switch {
	case age < GreenAge:
		return Green
	case age < AmberAge:
		return Amber
	}
	return Red
}

// State is what a status page shows of the chain.
type State struct {
	// Known says that something was read, now or before the start; without it the fields up to Light mean nothing.
	Known bool
	// Synced is the newest block's time, Age how long ago that is, Seqno its number.
	Synced time.Time
	Age    time.Duration
	Seqno  uint32
	Light  Light
	// Version and ParamsVersion are the root's.
	Version, ParamsVersion uint32
	// Err says why the root cannot be decided by; nil when it can. Last is how the last refresh ended.
	Err, Last error
}

// Late is the code of a chain that grows old and still serves; empty while it is green, and when nothing was read.
func (s *State) Late() string {
	if !s.Known || s.Light == Green {
		return ""
	}
	return "root_config_" + map[Light]string{Amber: "late", Red: "very_late"}[s.Light]
}

// MarshalJSON is the state as pages for programs have it.
func (s State) MarshalJSON() ([]byte, error) {
	doc := map[string]any{"known": s.Known, "light": s.Light}
	if s.Known {
		doc["synced_at"], doc["age_seconds"], doc["block"] = s.Synced.Unix(), int64(s.Age.Seconds()), s.Seqno
		doc["root_version"], doc["params_version"] = s.Version, s.ParamsVersion
	}
	for name, err := range map[string]error{"error": s.Err, "last_refresh": s.Last} {
		if err != nil {
			doc[name] = err.Error()
		}
	}
	return json.Marshal(doc)
}

// String is the state in a line: how old the newest block is, or why there is none.
func (s *State) String() string {
	if !s.Known {
		return "never read"
	}
	text := fmt.Sprintf("block %d, %s ago, root version %d", s.Seqno, s.Age.Truncate(time.Second), s.Version)
	if s.Last != nil {
		text += "; the last refresh did not succeed"
	}
	return text
}

// State is the present one.
func (f *Follower) State() State {
	_, err := f.Snapshot()
	st := State{Err: err, Last: f.failed(), Light: Red}
	s := f.watcher.Newest()
	if s == nil {
		return st
	}
	st.Known, st.Synced, st.Seqno, st.Version, st.ParamsVersion = true, s.Block.Time, s.Block.Seqno, s.Version, s.Params.ParamsVersion
	st.Age = max(f.Now().Sub(s.Block.Time), 0)
	st.Light = LightOf(st.Age)
	return st
}
