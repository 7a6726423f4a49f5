package pcs

import (
	"context"
	"net/http"

	"golang.org/x/sync/errgroup"

	"cocoon/measure/dcap"
)

// ClientConfig says whom to ask.
type ClientConfig struct {
	// URL is the address of a PCS or PCCS: scheme, host and perhaps a path. Empty means Intel's service.
	URL string
	// RootCRL is the full address of the root's revocation list. Empty means the place where Intel has it for Intel's
	// service, and the caching service's own path for all others.
	RootCRL string
	// Early asks for the TCB evaluation that Intel has published but not yet put into force.
	Early bool
	// AnyTLS accepts every TLS certificate. Caching services usually have self-signed ones, and what they say is not
	// believed in any case. It has no effect together with HTTP.
	AnyTLS bool
	// HTTP makes the requests; nil means NewHTTPClient.
	HTTP *http.Client
}

// Client is a Source that speaks to one provisioning service. It is safe for concurrent use and remembers nothing.
type Client struct {
	base, rootCRL string
	early         bool
	http          *http.Client
}

// NewClient checks the configuration; it asks nothing yet.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.URL == "" {
		cfg.URL = IntelURL
	}
	base, err := parseBase(cfg.URL)
	if err != nil {
		return nil, err
	}
	if cfg.RootCRL == "" && base == IntelURL {
		cfg.RootCRL = dcap.RootCRLURL
	}
	if cfg.HTTP == nil {
		cfg.HTTP = newHTTPClient(cfg.AnyTLS)
	}
	return &Client{base: base, rootCRL: cfg.RootCRL, early: cfg.Early, http: cfg.HTTP}, nil
}

// String is the service's address.
func (c *Client) String() string { return c.base }

// Bundle asks for the four parts: TCB info first, because a relay that has it can verify the others, and those together.
// The first part that cannot be had ends the round.
func (c *Client) Bundle(ctx context.Context, p dcap.Platform) (*dcap.Bundle, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	requests := dcap.Requests(p)
	responses := make([]dcap.Response, len(requests))
	group, grouped := errgroup.WithContext(ctx)
	for i, r := range requests {
		if i == 0 {
			if err := c.part(ctx, r, &responses[i]); err != nil {
				return nil, err
			}
			continue
		}
		group.Go(func() error { return c.part(grouped, r, &responses[i]) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return dcap.Assemble(responses)
}

// part gets one part.
func (c *Client) part(ctx context.Context, r dcap.Request, to *dcap.Response) error {
	got, err := c.get(ctx, c.address(r))
	if err != nil {
		return err
	}
	*to = dcap.Response{Kind: r.Kind, Body: got.body, IssuerChain: got.header.Get(r.IssuerChain)}
	return nil
}

// Addresses are what Bundle asks for, in the order of dcap.Requests.
func (c *Client) Addresses(p dcap.Platform) []string {
	requests := dcap.Requests(p)
	out := make([]string, len(requests))
	for i, r := range requests {
		out[i] = c.address(r)
	}
	return out
}

// address is where a part is asked for.
func (c *Client) address(r dcap.Request) string {
	if r.Kind == dcap.RootCRL && c.rootCRL != "" {
		return c.rootCRL
	}
	query := r.Query
	if c.early && (r.Kind == dcap.TCBInfo || r.Kind == dcap.QEIdentity) {
		if query != "" {
			query += "&"
		}
		query += "update=early"
	}
	if query != "" {
		query = "?" + query
	}
	return c.base + r.Path + query
}
