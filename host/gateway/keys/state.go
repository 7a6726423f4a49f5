package keys

import (
	"fmt"
	"math"
	"time"

	"cocoon/host/gateway/kept"
	"cocoon/measure/strictjson"
)

const (
	stateSchema = "cocoon.gateway.budgets/1"
	// maxState bounds the file; a key has about 150 bytes in it.
	maxState = 2 << 20
)

// use is what a key has used, as it is kept.
type use struct {
	// Began is when its day began, At when it was used last.
	Began  time.Time `json:"began"`
	At     time.Time `json:"at"`
	Tokens int64     `json:"tokens"`
	Nano   uint64    `json:"nano,string"`
	// Allow are the requests that may come at once.
	Allow float64 `json:"allow"`
}

// stateFile is the file of what keys have used. It holds names alone.
type stateFile struct {
	Schema string         `json:"schema"`
	Keys   map[string]use `json:"keys"`
}

// Save writes what keys have used, whole or not at all. When nothing was used since the last time it does nothing.
func (b *Book) Save(path string) error {
	if b.Open() || !b.unsaved.Swap(false) {
		return nil
	}
	file := stateFile{stateSchema, make(map[string]use, len(b.byName))}
	for name, a := range b.byName {
		a.mu.Lock()
		if !a.began.IsZero() {
			file.Keys[name] = use{a.began.UTC(), a.at.UTC(), a.tokens, a.nano, a.allow}
		}
		a.mu.Unlock()
	}
	if err := kept.Write(path, file); err != nil {
		b.unsaved.Store(true)
		return fmt.Errorf("writing budgets: %w", err)
	}
	return nil
}

// Recall goes on where Save was; known says whether there was a file. Keys that are no more are forgotten, and what lies in
// the future of now, after a clock was set back, begins anew.
func (b *Book) Recall(path string, now time.Time) (known bool, err error) {
	data, err := kept.Read(path, maxState)
	if data == nil && err == nil {
		return false, nil
	}
	var file stateFile
	if err == nil {
		file, err = parseState(data)
	}
	if err != nil {
		return false, fmt.Errorf("reading budgets %s: %w", path, err)
	}
	for name, u := range file.Keys {
		a := b.account(name)
		if a == nil || u.Began.After(now) || u.At.After(now) {
			continue
		}
		a.mu.Lock()
		a.began, a.at, a.tokens, a.nano = u.Began, u.At, u.Tokens, u.Nano
		a.allow = min(u.Allow, float64(a.RequestsPerMinute)) // the limit may have changed
		a.mu.Unlock()
	}
	return true, nil
}

func parseState(data []byte) (stateFile, error) {
	var file stateFile
	if len(data) > maxState {
		return file, fmt.Errorf("over %d bytes", maxState)
	}
	if err := strictjson.Decode(data, &file); err != nil {
		return file, err
	}
	if file.Schema != stateSchema || len(file.Keys) > maxKeys {
		return file, fmt.Errorf("schema %.40q with %d keys, want %s with at most %d", file.Schema, len(file.Keys), stateSchema, maxKeys)
	}
	for name, u := range file.Keys {
		if u.Tokens < 0 || !(u.Allow >= 0 && u.Allow <= math.MaxInt32) || u.At.Before(u.Began) {
			return file, fmt.Errorf("what the key %.64q has used is out of its bounds", name)
		}
	}
	return file, nil
}
