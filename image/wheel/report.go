package wheel

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"time"
)

const (
	// maxReport bounds a resolver's report: 200 packages with their metadata are 2 MB.
	maxReport = 64 << 20
	// headTimeout bounds one question for a file's size.
	headTimeout = 30 * time.Second
)

// report is the part of pip's installation report (its format version 1) that we read; the rest is metadata of packages.
type report struct {
	Version string `json:"version"`
	Install []struct {
		DownloadInfo struct {
			URL         string `json:"url"`
			ArchiveInfo struct {
				Hashes map[string]string `json:"hashes"`
			} `json:"archive_info"`
		} `json:"download_info"`
		Metadata struct {
			Name    string `json:"name"`
			Version string `json:"version"`
		} `json:"metadata"`
	} `json:"install"`
}

// Sizer tells how many bytes an address serves. A report has hashes but no sizes.
type Sizer func(ctx context.Context, address string) (int64, error)

// FromReport makes a list from the report of `pip install --dry-run --ignore-installed --only-binary=:all: --report`.
// Nothing is resolved here: the report says which files, the interpreter whether they can be right.
func FromReport(ctx context.Context, data []byte, py Interpreter, size Sizer) (*List, error) {
	if len(data) > maxReport {
		return nil, fmt.Errorf("reading the resolver's report: over %d bytes", maxReport)
	}
	var r report
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("reading the resolver's report: %w", err)
	}
	if r.Version != "1" {
		return nil, fmt.Errorf("reading the resolver's report: format version %q, want \"1\"", r.Version)
	}
	if len(r.Install) > maxWheels {
		return nil, fmt.Errorf("reading the resolver's report: %d packages, at most %d", len(r.Install), maxWheels)
	}
	l := &List{}
	var errs []error
	for _, item := range r.Install {
		file, err := fileOf(item.DownloadInfo.URL)
		if err == nil {
			err = fits(file, py)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %s: %w", item.Metadata.Name, item.Metadata.Version, err))
			continue
		}
		n, err := size(ctx, item.DownloadInfo.URL)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %s: %w", item.Metadata.Name, item.Metadata.Version, err))
			continue
		}
		l.Wheels = append(l.Wheels, Entry{
			Name: Normalise(item.Metadata.Name), Version: item.Metadata.Version, File: file,
			SHA256: item.DownloadInfo.ArchiveInfo.Hashes["sha256"], Size: n,
		})
	}
	sortEntries(l.Wheels)
	if err := errors.Join(append(errs, l.Validate())...); err != nil {
		return nil, fmt.Errorf("reading the resolver's report: %w", err)
	}
	return l, nil
}

func fits(file string, py Interpreter) error {
	n, err := ParseName(file)
	if err != nil {
		return err
	}
	return n.Accepts(py)
}

// fileOf is the file name in an address.
func fileOf(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("reading an address: %w", err)
	}
	return path.Base(u.Path), nil
}

// HeadSize is a Sizer that asks the server.
func HeadSize(client *http.Client) Sizer {
	return func(ctx context.Context, address string) (int64, error) {
		ctx, cancel := context.WithTimeout(ctx, headTimeout)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodHead, address, http.NoBody)
		if err != nil {
			return 0, fmt.Errorf("asking for a size: %w", err)
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, fmt.Errorf("asking for a size: %w", err)
		}
		defer resp.Body.Close() //nolint:errcheck // there is no body
		if resp.StatusCode != http.StatusOK || resp.ContentLength <= 0 {
			return 0, fmt.Errorf("asking %s for a size: %s, length %d", address, resp.Status, resp.ContentLength)
		}
		return resp.ContentLength, nil
	}
}
