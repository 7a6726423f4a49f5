package wheel

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"cocoon/image/lock"
)

const (
	// IndexVariable is the environment variable with the simple index's base URL; it is the name that pip reads too.
	IndexVariable = "PIP_INDEX_URL"
	// maxPage bounds one project's page; the largest projects have about 10 MB.
	maxPage = 64 << 20
	// pageTimeout bounds one page.
	pageTimeout = time.Minute
	// pageWorkers bounds concurrent pages.
	pageWorkers = 4
)

// Index is a package index with the simple interface (PEP 503). Any will do: the list's hashes decide.
type Index struct {
	// Base is the address whose BASE/PROJECT/ pages list files; empty takes IndexVariable.
	Base   string
	Client *http.Client
}

// ErrNoIndex says that nobody told us an index.
var ErrNoIndex = errors.New("no package index given: set " + IndexVariable + " to the address of a simple index, or fetch from somebody's export")

// Locate gives each artefact of kind wheel the address that the index has for its hash. Other artefacts pass through.
func (x Index) Locate(ctx context.Context, arts []lock.Artefact) ([]lock.Artefact, error) {
	base, err := x.base()
	if err != nil {
		return nil, fmt.Errorf("locating wheels: %w", err)
	}
	out := make([]lock.Artefact, len(arts))
	missing := make([]error, len(arts))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(pageWorkers)
	for i, a := range arts {
		out[i] = a
		if a.Kind != lock.Wheel {
			continue
		}
		g.Go(func() error {
			address, err := x.find(ctx, base, a)
			if err != nil {
				missing[i] = fmt.Errorf("locating %s: %w", a.Label(), err)
				return nil
			}
			out[i].Sources = append([]string{address}, a.Sources...)
			return nil
		})
	}
	if err := errors.Join(g.Wait(), errors.Join(missing...)); err != nil {
		return nil, err
	}
	return out, nil
}

func (x Index) base() (*url.URL, error) {
	text := x.Base
	if text == "" {
		text = os.Getenv(IndexVariable)
	}
	if text == "" {
		return nil, ErrNoIndex
	}
	u, err := url.Parse(strings.TrimSuffix(text, "/") + "/")
	if err != nil {
		return nil, fmt.Errorf("reading the index's address: %w", err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("reading the index's address: %q is neither http nor https", u.Redacted())
	}
	return u, nil
}

// find reads one project's page and picks the file by hash.
func (x Index) find(ctx context.Context, base *url.URL, a lock.Artefact) (string, error) {
	page := base.JoinPath(Normalise(a.Name)).String() + "/"
	data, final, err := x.get(ctx, page)
	if err != nil {
		return "", err
	}
	for _, l := range links(data) {
		u, err := final.Parse(l)
		if err == nil && strings.EqualFold(u.Fragment, "sha256="+a.SHA256) {
			u.Fragment = ""
			return u.String(), nil
		}
	}
	return "", fmt.Errorf("%s lists no file with SHA-256 %s", page, a.SHA256)
}

// get returns a page and the address it came from after redirects, which its links are relative to.
func (x Index) get(ctx context.Context, page string) ([]byte, *url.URL, error) {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, page, http.NoBody)
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", page, err)
	}
	req.Header.Set("Accept", "application/vnd.pypi.simple.v1+html, text/html;q=0.5")
	client := x.Client
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", page, err)
	}
	defer resp.Body.Close() //nolint:errcheck // read side
	if resp.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("reading %s: %s", page, resp.Status)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxPage+1))
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", page, err)
	}
	if len(data) > maxPage {
		return nil, nil, fmt.Errorf("reading %s: over %d bytes", page, maxPage)
	}
	return data, resp.Request.URL, nil
}

// anchor finds links; a page of the simple interface has nothing but anchors, and a link that we misread is one that no
// hash matches.
var anchor = regexp.MustCompile(`(?is)<a\s[^>]*?href\s*=\s*(?:"([^"]*)"|'([^']*)')`)

func links(page []byte) []string {
	found := anchor.FindAllSubmatch(page, -1)
	out := make([]string, 0, len(found))
	for _, m := range found {
		out = append(out, html.UnescapeString(string(m[1])+string(m[2])))
	}
	return out
}
