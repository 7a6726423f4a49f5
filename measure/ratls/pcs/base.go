package pcs

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// IntelURL is the address of Intel's own service, PCS. It has no root CRL: that is at dcap.RootCRLURL.
const IntelURL = "https://api.trustedservices.intel.com"

// apiSuffix is how quote libraries write a caching service's address: with the first path of its interface.
const apiSuffix = "/sgx/certification/v4"

// parseBase checks a source's address and brings it to the form scheme://host[/prefix].
func parseBase(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", fmt.Errorf("reading address of a collateral source: %w", unwrapURL(err))
	}
	for _, rule := range []struct {
		broken bool
		why    string
	}{
		{u.Scheme != "http" && u.Scheme != "https", "it needs http:// or https://"},
		{u.Host == "", "it names no host"},
		{u.User != nil, "user names and passwords are not supported"},
		{u.RawQuery != "" || u.ForceQuery || u.Fragment != "", "it must end with the path"},
	} {
		if rule.broken {
			return "", fmt.Errorf("reading address of a collateral source: %q: %w", u.Redacted(), errors.New(rule.why))
		}
	}
	path := strings.TrimSuffix(strings.TrimRight(u.EscapedPath(), "/"), apiSuffix)
	return u.Scheme + "://" + u.Host + path, nil
}
