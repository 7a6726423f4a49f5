package follow

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/xssnick/tonutils-go/address"

	"cocoon/contracts/api/jsonscan"
	"cocoon/contracts/chain/lite"
	"cocoon/contracts/registry"
)

// Limits of a section.
const (
	maxSection = 64 << 10
	// MinEvery and MaxEvery bound the time between refreshes. A test network's chain is near.
	MinEvery = 200 * time.Millisecond
	MaxEvery = 10 * time.Minute
	// minAge is the least limit of age: below it a chain that is well would seem frozen between two blocks.
	minAge = 2 * time.Second
)

// Section is the object `root` of a role's configuration. In a machine it is measured: it says whom the machine believes.
type Section struct {
	// Address is the root contract.
	Address *address.Address
	// Network is the chain that it is on.
	Network registry.Network
	// Config is the path of that network's global configuration, with the liteservers. Its init_block is where proofs
	// begin, so the file is measured as well, unless Trusted is set.
	Config string
	// Trusted is the key block where proofs begin; nil is the file's init_block.
	Trusted *lite.KeyBlock
	// Every is the time between refreshes, registry.DefaultEvery when zero; MaxAge how old a block may be that is decided
	// by, registry.MaxAge when zero and at most that.
	Every, MaxAge time.Duration
	// Dir keeps the newest snapshot and the newest proven key block over restarts; empty keeps neither. Who can write there
	// decides what a restart believes until the chain answers: it is sealed storage, or the folder of who runs a test.
	Dir string
	// OneServer is enough: in local networks.
	OneServer bool
}

// document is a section as it is written.
type document struct {
	Address   string         `json:"address"`
	Network   string         `json:"network"`
	Config    string         `json:"config"`
	Trusted   *lite.KeyBlock `json:"trusted_block,omitempty"`
	Every     string         `json:"every,omitempty"`
	MaxAge    string         `json:"max_age,omitempty"`
	Dir       string         `json:"state_dir,omitempty"`
	OneServer bool           `json:"one_liteserver,omitempty"`
}

// ParseSection reads a section. Unknown and repeated keys are errors; everything that is wrong is reported at once.
func ParseSection(data []byte) (*Section, error) {
	if len(data) > maxSection {
		return nil, fmt.Errorf("reading root section: %d bytes, at most %d", len(data), maxSection)
	}
	if _, err := jsonscan.Check(data); err != nil {
		return nil, fmt.Errorf("reading root section: %w", err)
	}
	var doc document
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&doc); err != nil {
		return nil, fmt.Errorf("reading root section: %w", err)
	}
	s := &Section{Config: doc.Config, Trusted: doc.Trusted, Dir: doc.Dir, OneServer: doc.OneServer}
	var errs []error
	note := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	var err error
	s.Address, err = parseAddress(doc.Address)
	note(err)
	s.Network, err = parseNetwork(doc.Network)
	note(err)
	s.Every, err = parseDuration("every", doc.Every)
	note(err)
	s.MaxAge, err = parseDuration("max_age", doc.MaxAge)
	note(err)
	note(s.Validate())
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("reading root section: %w", err)
	}
	return s, nil
}

func parseAddress(text string) (*address.Address, error) {
	parse := address.ParseAddr
	if strings.Contains(text, ":") {
		parse = address.ParseRawAddr
	}
	a, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("root.address: %q is no address of a contract", text)
	}
	return a, nil
}

func parseNetwork(text string) (registry.Network, error) {
	if text == "" {
		return 0, errors.New("root.network: is missing: mainnet, testnet, localnet or a global id")
	}
	n, err := registry.ParseNetwork(text)
	if err != nil {
		return 0, fmt.Errorf("root.network: %w", err)
	}
	return n, nil
}

func parseDuration(name, text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("root.%s: %q is no time like \"30s\"", name, text)
	}
	return d, nil
}

// Validate reports every broken rule, and puts the defaults in.
func (s *Section) Validate() error {
	if s.Every == 0 {
		s.Every = registry.DefaultEvery
	}
	if s.MaxAge == 0 {
		s.MaxAge = registry.MaxAge
	}
	var errs []error
	for _, r := range []struct {
		name string
		ok   bool
		rule string
	}{
		{"config", s.Config != "", "is missing: name the file with the network's global configuration"},
		{"every", s.Every >= MinEvery && s.Every <= MaxEvery, fmt.Sprintf("%s is not from %s to %s", s.Every, MinEvery, MaxEvery)},
		{"max_age", s.MaxAge >= minAge && s.MaxAge <= registry.MaxAge, fmt.Sprintf("%s is not from %s to %s", s.MaxAge, minAge, registry.MaxAge)},
		{"max_age", s.MaxAge > s.Every, "must be above every"},
		{"one_liteserver", !s.OneServer || s.Network != registry.Mainnet, "one server could silence this machine: the main network has many"},
	} {
		if !r.ok {
			errs = append(errs, fmt.Errorf("root.%s: %s", r.name, r.rule))
		}
	}
	return errors.Join(errs...)
}
