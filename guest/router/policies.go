package router

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"cocoon/measure/policy"
)

// PolicySpec is a policy as it was written.
type PolicySpec struct {
	Name string
	// Type is the word of the configuration; the reference's newer names are accepted.
	Type        string
	Description string
	// Rules is the tdx_config object; empty means the defaults of the type.
	Rules json.RawMessage
	// Origin says where the policy was written, for errors.
	Origin string
}

// policyName is what a policy may be called. The reference bounds names by its separators only.
var policyName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// builtins are the policies that exist without being written. They cannot be redefined: the reference lets its own win
// over one of the same name in the file, silently.
func builtins() []PolicySpec {
	names := []string{"any", "tdx", "tee", "fake_tdx", "fake_tee"}
	out := make([]PolicySpec, 0, len(names))
	for _, name := range names {
		out = append(out, PolicySpec{Name: name, Type: name, Origin: builtinOrigin})
	}
	return out
}

func isBuiltin(name string) bool {
	return slices.ContainsFunc(builtins(), func(p PolicySpec) bool { return p.Name == name })
}

// ErrNoImages is a TDX policy that says neither which images it admits nor who else decides.
var ErrNoImages = errors.New("the policy is tdx and lists no image: write the choice, one of" +
	" hashes (@tdx:HASH,... or allowed_image_hashes)," +
	" --image-source=chain (the root contract's list)," +
	" --image-source=defer (the service inside decides from the preamble)")

// policies compiles every policy that was written, and those built in.
func (c *Config) policies() (map[string]*policy.Policy, error) {
	out := map[string]*policy.Policy{}
	used := c.used()
	var errs []error
	for _, spec := range slices.Concat(builtins(), c.Policies) {
		p, err := c.compile(spec, used[spec.Name])
		if err == nil && !c.Local {
			if err = refuseLocal(p); err != nil && spec.Origin == builtinOrigin && !used[spec.Name] {
				continue // does not exist here, so that no program's user name can choose it
			}
		}
		switch _, twice := out[spec.Name]; {
		case spec.Origin != builtinOrigin && isBuiltin(spec.Name):
			err = errors.New("the name is built in and cannot be redefined")
		case twice:
			err = errors.New("the name is given twice")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("policy %q (%s): %w", spec.Name, spec.Origin, err))
			continue
		}
		out[spec.Name] = p
	}
	known := slices.Sorted(maps.Keys(out))
	for i := range c.Ports {
		name := c.Ports[i].Policy
		if _, ok := out[name]; !ok && !slices.ContainsFunc(c.Policies, func(s PolicySpec) bool { return s.Name == name }) {
			errs = append(errs, fmt.Errorf("ports[%d].policy_name: there is no policy %q, only %s", i, name, strings.Join(known, ", ")))
		}
	}
	return out, errors.Join(errs...)
}

const builtinOrigin = "built in"

// used tells which policies a port names. One that none does may stay without images.
func (c *Config) used() map[string]bool {
	out := map[string]bool{}
	for i := range c.Ports {
		out[c.Ports[i].Policy] = true
	}
	return out
}

// refuseLocal keeps what only a local network may have out of every other: evidence that anybody can make.
func refuseLocal(p *policy.Policy) error {
	switch {
	case p.Simulated():
		return errors.New("allow_simulated admits simulated platforms, which only the file of a local network may (\"network\": \"local\")")
	case p.Type() == policy.FakeTDX:
		return errors.New("fake_tdx admits evidence that anybody can make, which only the file of a local network may (\"network\": \"local\")")
	}
	return nil
}

// compile turns what was written into a policy, with the configuration's defaults in place of what it leaves out.
func (c *Config) compile(spec PolicySpec, used bool) (*policy.Policy, error) {
	if !policyName.MatchString(spec.Name) {
		return nil, fmt.Errorf("the name does not match %s", policyName)
	}
	t, err := policy.ParseType(spec.Type)
	if err != nil {
		return nil, err
	}
	if t == policy.SGX {
		return nil, errors.New("type sgx is for seal servers, no router meets one")
	}
	p, written, err := parseRules(spec)
	if err != nil {
		return nil, err
	}
	if t != policy.TDX {
		return p, nil
	}
	r := p.Rules()
	listed := len(r.AllowedImages)+len(r.AllowedMRTD)+len(r.AllowedRTMR) > 0
	if _, set := written["image_source"]; !set && !listed {
		if c.ImageSource == "" && used {
			return nil, ErrNoImages
		}
		if c.ImageSource != "" {
			r.ImageSource = c.ImageSource
		}
	}
	return policy.New(r)
}

// parseRules gives the policy with the type written into its rules, and which keys were written.
func parseRules(spec PolicySpec) (*policy.Policy, map[string]json.RawMessage, error) {
	written := map[string]json.RawMessage{}
	if len(spec.Rules) > 0 {
		if err := json.Unmarshal(spec.Rules, &written); err != nil {
			return nil, nil, fmt.Errorf("tdx_config: %w", err)
		}
	}
	if written == nil { // null
		return nil, nil, errors.New("tdx_config: null is no object: leave the key out")
	}
	if _, set := written["type"]; set {
		return nil, nil, errors.New("tdx_config: type belongs to the policy, beside tdx_config")
	}
	rules := maps.Clone(written)
	word, err := json.Marshal(spec.Type)
	if err != nil {
		return nil, nil, fmt.Errorf("type: %w", err)
	}
	rules["type"] = word
	doc, err := json.Marshal(rules)
	if err != nil {
		return nil, nil, fmt.Errorf("tdx_config: %w", err)
	}
	p, err := policy.Parse(doc)
	if err != nil {
		return nil, nil, err
	}
	return p, written, nil
}

// inline is the rules object of hashes written on a command line.
func inline(hashes []string) (json.RawMessage, error) {
	if len(hashes) == 0 {
		return nil, nil
	}
	list := make([]string, len(hashes))
	for i, h := range hashes {
		tee, digest, typed := strings.Cut(h, "@") // the newer reference writes the TEE in front
		switch {
		case !typed:
			digest = tee
		case tee == "sev":
			return nil, fmt.Errorf("image hash %q: SEV-SNP peers are not verified here and never admitted: remove it", h)
		case tee != "tdx":
			return nil, fmt.Errorf("image hash %q: %q is neither tdx nor sev", h, tee)
		}
		list[i] = digest
	}
	doc, err := json.Marshal(map[string][]string{"allowed_image_hashes": list})
	if err != nil {
		return nil, fmt.Errorf("image hashes: %w", err)
	}
	return doc, nil
}
