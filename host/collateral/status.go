package collateral

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"cocoon/measure/ratls/pcs"
)

// StatusSchema is the schema of the relay's status document.
const StatusSchema = "cocoon.collateral.status/1"

// Status is the state of a relay's collateral. It names models of platforms, never single machines.
type Status struct {
	Schema    string           `json:"schema"`
	Time      string           `json:"time"`
	Platforms []PlatformStatus `json:"platforms"`
}

// PlatformStatus is one platform's part of it. Times are RFC 3339 UTC.
type PlatformStatus struct {
	Platform string `json:"platform"`
	Valid    bool   `json:"valid"`
	// Issued, Expires and EvaluationNumber are absent when nothing is held.
	Issued           string `json:"issued,omitempty"`
	Expires          string `json:"expires,omitempty"`
	EvaluationNumber int    `json:"evaluation_number,omitempty"`
	// Renew is when a newer one is asked for next.
	Renew string `json:"renew,omitempty"`
	Error string `json:"error,omitempty"`
}

// NewStatus describes a cache.
func NewStatus(cache *pcs.Cache, now time.Time) Status {
	out := Status{Schema: StatusSchema, Time: stamp(now), Platforms: []PlatformStatus{}}
	for _, s := range cache.Status() {
		p := PlatformStatus{Platform: s.Platform.String()}
		if s.Held != nil {
			p.Valid = !now.After(s.Held.Expires())
			p.Issued, p.Expires = stamp(s.Held.IssuedAt()), stamp(s.Held.Expires())
			p.EvaluationNumber = s.Held.EvaluationNumber()
		}
		if !s.Renew.IsZero() {
			p.Renew = stamp(s.Renew)
		}
		if s.Err != nil {
			p.Error = s.Err.Error()
		}
		out.Platforms = append(out.Platforms, p)
	}
	return out
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func (r *Relay) status(*http.Request) (*part, error) {
	body, err := json.MarshalIndent(NewStatus(r.cfg.Cache, r.cfg.Now()), "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encoding status: %w", err)
	}
	return &part{contentType: jsonType, body: append(body, '\n')}, nil
}
