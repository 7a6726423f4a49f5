// Package keys is who may use a gateway, and how much (inference.md section 2).
//
// It owns the file of API keys, which holds hashes alone, and the budgets: requests a minute, tokens and coins a day, of which
// requests under way hold what they may still use. It
// trusts the file's owner and nobody else; a key is compared by its hash, so how long that takes says nothing about it.
// A Book is safe for concurrent use and takes the time from its caller. It never stores, logs or returns a key.
package keys

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cocoon/contracts/api"
	"cocoon/measure/strictjson"
)

const (
	// MaxFile bounds the file of keys, maxKeys their number, maxName a key's name.
	MaxFile = 1 << 20
	maxKeys = 4096
	maxName = 64
	// day is what a daily budget spans; it begins with the first use, not at midnight of some time zone.
	day = 24 * time.Hour
)

// Key is one row of the file. A limit of 0 is none.
type Key struct {
	Name string `json:"name"`
	// SHA256 is the hash of the key, in hex.
	SHA256            string `json:"sha256"`
	RequestsPerMinute int64  `json:"requests_per_minute,omitempty"`
	TokensPerDay      int64  `json:"tokens_per_day,omitempty"`
	NanoPerDay        uint64 `json:"nano_per_day,omitempty,string"`
}

// Book is all keys with what they have used. The zero value has no keys and admits everybody.
type Book struct {
	byHash map[[sha256.Size]byte]*account
	byName map[string]*account
	// unsaved says that something was used since the last Save.
	unsaved atomic.Bool
}

// account is a key and its use.
type account struct {
	Key

	mu     sync.Mutex
	allow  float64 // requests that may come at once
	at     time.Time
	began  time.Time
	tokens int64
	nano   uint64
	// holds are the requests under way, and what they may still use.
	holds, heldTokens int64
	heldNano          uint64
}

// Parse reads the file: {"keys":[{...}]}. Unknown members are errors, because a misspelt limit is none, and so are members
// that stand twice, because one of them would be none.
func Parse(data []byte) (*Book, error) {
	var file struct {
		Keys []Key `json:"keys"`
	}
	if len(data) > MaxFile {
		return nil, fmt.Errorf("reading keys: %d bytes, at most %d", len(data), MaxFile)
	}
	if err := strictjson.Decode(data, &file); err != nil {
		return nil, fmt.Errorf("reading keys: %w", err)
	}
	if len(file.Keys) == 0 || len(file.Keys) > maxKeys {
		return nil, fmt.Errorf("reading keys: %d keys, allowed are 1 to %d", len(file.Keys), maxKeys)
	}
	b := &Book{byHash: make(map[[sha256.Size]byte]*account), byName: make(map[string]*account)}
	for i, k := range file.Keys {
		if err := b.add(k); err != nil {
			return nil, fmt.Errorf("reading keys: entry %d: %w", i, err)
		}
	}
	return b, nil
}

func (b *Book) add(k Key) error {
	odd := func(c rune) bool { return c <= ' ' || c > '~' }
	if k.Name == "" || len(k.Name) > maxName || strings.ContainsFunc(k.Name, odd) {
		return fmt.Errorf("name must be 1 to %d visible ASCII characters", maxName)
	}
	raw, err := hex.DecodeString(k.SHA256)
	if err != nil || len(raw) != sha256.Size {
		return fmt.Errorf("%s: sha256 must be 64 hexadecimal digits; make it with: printf %%s KEY | sha256sum", k.Name)
	}
	if k.RequestsPerMinute < 0 || k.TokensPerDay < 0 {
		return fmt.Errorf("%s: a limit is negative", k.Name)
	}
	hash := [sha256.Size]byte(raw)
	if b.byHash[hash] != nil || b.byName[k.Name] != nil {
		return fmt.Errorf("%s: the name or the key stands twice", k.Name)
	}
	a := &account{Key: k, allow: float64(k.RequestsPerMinute)}
	b.byHash[hash], b.byName[k.Name] = a, a
	return nil
}

// Open says that no key is asked for.
func (b *Book) Open() bool { return b == nil || len(b.byHash) == 0 }

// Identify returns the name of the key in an Authorization header, or an *api.Error. An open book gives the empty name.
func (b *Book) Identify(authorization string) (string, error) {
	if b.Open() {
		return "", nil
	}
	const scheme = "bearer "
	if len(authorization) <= len(scheme) || !strings.EqualFold(authorization[:len(scheme)], scheme) {
		return "", &api.Error{Code: api.InvalidAPIKey, Message: "no API key was given; send the header Authorization: Bearer KEY"}
	}
	a := b.byHash[sha256.Sum256([]byte(strings.TrimSpace(authorization[len(scheme):])))]
	if a == nil {
		return "", &api.Error{Code: api.InvalidAPIKey, Message: "this API key is not known here; ask the gateway's operator for one"}
	}
	return a.Name, nil
}

// Limit is one limit as rate-limit headers show it.
type Limit struct {
	Limit, Remaining int64
	Reset            time.Duration
}

// Limits are those that a key has; nil for none.
type Limits struct{ Requests, Tokens *Limit }

// Admit takes one request off a key's budgets, or says with an *api.Error which is used up.
func (b *Book) Admit(name string, now time.Time) (Limits, error) {
	a := b.account(name)
	if a == nil {
		return Limits{}, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	b.unsaved.Store(true)
	a.age(now)
	if err := a.exhausted(now); err != nil {
		return a.limits(now), err
	}
	if a.RequestsPerMinute > 0 {
		if a.allow < 1 {
			wait := time.Duration((1 - a.allow) / float64(a.RequestsPerMinute) * float64(time.Minute))
			return a.limits(now), &api.Error{
				Code: api.RateLimitExceeded, RetryAfter: max(wait, time.Millisecond),
				Message: fmt.Sprintf("the key allows %d requests a minute; wait or raise requests_per_minute", a.RequestsPerMinute),
			}
		}
		a.allow--
	}
	return a.limits(now), nil
}

// exhausted says which budget of the day is used up, if one is. The caller holds the lock.
func (a *account) exhausted(now time.Time) error {
	left := a.began.Add(day).Sub(now)
	switch {
	case a.TokensPerDay > 0 && a.tokens >= a.TokensPerDay:
		return spent(fmt.Sprintf("the key's %d tokens of this day are used", a.TokensPerDay), left)
	case a.NanoPerDay > 0 && a.nano >= a.NanoPerDay:
		return spent(fmt.Sprintf("the key's %d nanoTON of this day are spent", a.NanoPerDay), left)
	default:
		return nil
	}
}

func spent(what string, left time.Duration) error {
	return &api.Error{
		Code:    api.KeyBudgetExceeded,
		Message: fmt.Sprintf("%s; it begins anew in %s, or raise the limit in the gateway's file of keys", what, left.Round(time.Minute)),
	}
}

func (b *Book) account(name string) *account {
	if b.Open() {
		return nil
	}
	return b.byName[name]
}

// age brings an account to a time.
func (a *account) age(now time.Time) {
	if !a.at.IsZero() && now.After(a.at) {
		refill := now.Sub(a.at).Minutes() * float64(a.RequestsPerMinute)
		a.allow = min(a.allow+refill, float64(a.RequestsPerMinute))
	}
	a.at = now
	if a.began.IsZero() || now.Sub(a.began) >= day {
		a.began, a.tokens, a.nano = now, 0, 0
	}
}

func (a *account) limits(now time.Time) (out Limits) {
	if n := a.RequestsPerMinute; n > 0 {
		missing := float64(n) - a.allow
		out.Requests = &Limit{n, int64(math.Floor(max(a.allow, 0))), time.Duration(missing / float64(n) * float64(time.Minute))}
	}
	if n := a.TokensPerDay; n > 0 {
		out.Tokens = &Limit{n, max(n-a.tokens, 0), a.began.Add(day).Sub(now)}
	}
	return out
}

// Spend notes what a request has used. at is when, so that what a store remembers can be counted again after a restart.
func (b *Book) Spend(name string, at time.Time, tokens int64, nano uint64) {
	a := b.account(name)
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	b.unsaved.Store(true)
	a.age(at)
	if sum := a.tokens + max(tokens, 0); sum >= a.tokens {
		a.tokens = sum
	}
	if sum := a.nano + nano; sum >= a.nano {
		a.nano = sum
	}
}
