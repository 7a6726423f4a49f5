package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// rule is one line of a validation table: the field's path and what is wrong with it, nil when nothing is.
type rule struct {
	path string
	err  error
}

// findings joins the broken rules, in the table's order.
func findings(rules []rule) error {
	var errs []error
	for _, r := range rules {
		if r.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", r.path, r.err))
		}
	}
	return errors.Join(errs...)
}

func oneOf(value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return fmt.Errorf("%q is none of %s", value, strings.Join(allowed, ", "))
}

func only(ok bool, why string) error {
	if ok {
		return nil
	}
	return errors.New(why)
}

func matches(value string, pattern *regexp.Regexp) error {
	if pattern.MatchString(value) {
		return nil
	}
	return fmt.Errorf("%q does not match %s", value, pattern)
}

// optional accepts the empty string, and otherwise a bounded match.
func optional(value string, pattern *regexp.Regexp, maxLen int) error {
	if value == "" {
		return nil
	}
	return errors.Join(matches(value, pattern), only(len(value) <= maxLen, fmt.Sprintf("longer than %d characters", maxLen)))
}

func between[T cmp.Ordered](value, low, high T) error {
	if value >= low && value <= high {
		return nil
	}
	return fmt.Errorf("%v is not in %v..%v", value, low, high)
}

// address accepts an IP address that can be a peer: no zone, not unspecified, not multicast.
func address(value string) error {
	a, err := netip.ParseAddr(value)
	switch {
	case err != nil:
		return fmt.Errorf("%q is not an IP address", value)
	case a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() || a.Is4In6():
		return fmt.Errorf("%q is not the address of one host", value)
	}
	return nil
}

// prefix accepts an interface address with its prefix length.
func prefix(value string) error {
	p, err := netip.ParsePrefix(value)
	if err != nil {
		return fmt.Errorf("%q is not an address with a prefix length", value)
	}
	return address(p.Addr().String())
}

// endpoint accepts host:port where the host is a name or an address.
func endpoint(value string) error {
	if !endpointRule.MatchString(value) {
		return fmt.Errorf("%q does not match %s", value, endpointRule)
	}
	return nil
}
