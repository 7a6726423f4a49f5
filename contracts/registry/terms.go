package registry

import (
	"crypto/sha256"
	"fmt"
	"math"
	"strconv"
	"strings"

	"cocoon/contracts/bind"
	"cocoon/contracts/pricing"
)

// maxPrice bounds what an adjusted token may cost in nanoTON: a thousand TON. A root that says more is not followed.
const maxPrice = 1_000_000_000_000

// Terms are what work costs and is paid under one version of a root.
type Terms struct {
	// ConfigVersion counts changes of the root, ParamsVersion those of the parameters among them.
	ConfigVersion, ParamsVersion int32
	// Price is what clients pay for an adjusted token, WorkerFee the worker's part of it; in nanoTON.
	Price, WorkerFee uint64
	Multipliers      pricing.Multipliers
}

// Terms reads the prices. Numbers that the wire's signed integers cannot carry are refused.
func (s *Snapshot) Terms() (Terms, error) {
	p := s.Params
	multipliers := []uint32{p.PromptMultiplier, p.CachedMultiplier, p.CompletionMultiplier, p.ReasoningMultiplier}
	for i, m := range append([]uint32{s.Version, p.ParamsVersion}, multipliers...) {
		if m > math.MaxInt32 {
			what := []string{"version", "params_version", "prompt", "cached", "completion", "reasoning"}[i]
			return Terms{}, fmt.Errorf("reading the terms of root %s: %s is %d, at most %d", s.Root, what, m, math.MaxInt32)
		}
	}
	if p.PricePerToken > maxPrice || p.WorkerFee > p.PricePerToken {
		return Terms{}, fmt.Errorf("reading the terms of root %s: %d nanoTON a token of which %d are the worker's", s.Root, p.PricePerToken, p.WorkerFee)
	}
	return Terms{
		ConfigVersion: int32(s.Version), ParamsVersion: int32(p.ParamsVersion), Price: uint64(p.PricePerToken), WorkerFee: uint64(p.WorkerFee), //nolint:gosec // checked above
		Multipliers: pricing.Multipliers{
			Prompt: int64(p.PromptMultiplier), Cached: int64(p.CachedMultiplier),
			Completion: int64(p.CompletionMultiplier), Reasoning: int64(p.ReasoningMultiplier),
		},
	}, nil
}

// NotListedError says that a root does not allow something, so that its owner can be told what to publish.
type NotListedError struct {
	List List
	// What is the model's full name or the image's hash, Version the root's version that was looked at.
	What    string
	Version uint32
}

// Error is "model X not in root version Y".
func (e *NotListedError) Error() string {
	what := "model " + e.What
	if e.List != Models {
		what = fmt.Sprintf("image hash %s (%s)", e.What, e.List)
	}
	return fmt.Sprintf("%s not in root version %d", what, e.Version)
}

// Advice is what the root's owner does about it.
func (e *NotListedError) Advice() string {
	if e.List == Models {
		return fmt.Sprintf("the root's owner has to publish the model %s", e.What)
	}
	return fmt.Sprintf("the root's owner has to publish the %s image %s: cocoon root publish with its manifest or prediction", e.List, e.What)
}

// ModelHash is how the root lists a model: by the full name that its workers announce (contracts.md section 1.2).
func ModelHash(name string) bind.Hash { return sha256.Sum256([]byte(name)) }

// CheckModel says whether workers may serve a model; the error is a *NotListedError.
func (s *Snapshot) CheckModel(name string) error {
	if s.Has(Models, ModelHash(name)) {
		return nil
	}
	return &NotListedError{Models, name, s.Version}
}

// CheckImage says whether a list of images has a hash; the error is a *NotListedError.
func (s *Snapshot) CheckImage(l List, image [32]byte) error {
	if l != Models && s.Has(l, image) {
		return nil
	}
	return &NotListedError{l, fmt.Sprintf("%x", image), s.Version}
}

// Registered is a proxy that runners may connect to, by the address for each side.
type Registered struct {
	Seqno                  uint32
	ForWorkers, ForClients string // host:port
}

// Registered lists the registered proxies in the order of their registration. A text that is not one or two addresses is
// left out: anything can be registered.
func (s *Snapshot) Registered() []Registered {
	out := make([]Registered, 0, len(s.Proxies))
	for _, p := range s.Proxies {
		words := strings.Split(string(p.Addr), " ")
		if len(words) > 2 || !dialable(words[0]) || !dialable(words[len(words)-1]) {
			continue
		}
		out = append(out, Registered{p.Seqno, words[0], words[len(words)-1]})
	}
	return out
}

// dialable says whether a text is host:port.
func dialable(text string) bool {
	host, port, found := strings.Cut(text, ":")
	n, err := strconv.ParseUint(port, 10, 16)
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"
	return found && err == nil && n > 0 && host != "" && strings.Trim(host, letters) == ""
}
