package lock

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	// maxEpoch is 2100-01-01: later times do not fit every format of an image.
	maxEpoch = 4102444800
	// minEpoch is 1980-01-01: zip and FAT know no earlier time.
	minEpoch = 315532800
	// maxArtefactSize bounds one input; the largest expected are wheels of about 1 GB.
	maxArtefactSize = 16 << 30
	// maxArtefacts bounds the document; a heavy image has about 400.
	maxArtefacts = 20000
	// maxText bounds one value.
	maxText = 1024
)

var (
	hexSHA256   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	hexSHA1     = regexp.MustCompile(`^([0-9a-f]{40})?$`)
	fingerprint = regexp.MustCompile(`^[0-9a-f]{40,64}$`)
	group       = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
	word        = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+~:-]{0,255}$`)
	goVersion   = regexp.MustCompile(`^1\.[0-9]{1,3}(\.[0-9]{1,3})?$`)
	// text is what may stand between quotation marks: nothing that TOML would need to escape.
	text = regexp.MustCompile(`^[ !#-\[\]-~]*$`)
)

// Validate checks every value's form; the error lists all findings, each with the entry it is in.
func (l *Lock) Validate() error {
	var errs []error
	report := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	if l.Epoch < minEpoch || l.Epoch > maxEpoch {
		report(fmt.Errorf("epoch %d, want %d..%d", l.Epoch, int64(minEpoch), int64(maxEpoch)))
	}
	report(match("go", l.Go, goVersion))
	report(match("recipe_sha256", l.RecipeSHA256, hexSHA256))
	for _, m := range l.Mirrors {
		report(checkBase("mirrors", m))
	}
	if len(l.Artefacts) > maxArtefacts {
		report(fmt.Errorf("%d artefacts, want at most %d", len(l.Artefacts), maxArtefacts))
	}
	suites := map[string]bool{}
	for _, s := range l.Suites {
		if suites[s.Name] {
			report(fmt.Errorf("suite %q is there twice", s.Name))
		}
		suites[s.Name] = true
		if err := s.validate(); err != nil {
			report(fmt.Errorf("suite %q: %w", s.Name, err))
		}
	}
	for i, a := range l.Artefacts {
		if err := a.validate(suites); err != nil {
			report(fmt.Errorf("artefact %d (%s): %w", i+1, a.Label(), err))
		}
		if i > 0 && compare(l.Artefacts[i-1], a) == 0 {
			report(fmt.Errorf("artefact %d (%s) is there twice", i+1, a.Label()))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("checking the lock: %w", err)
	}
	return nil
}

func (s Suite) validate() error {
	errs := []error{
		match("name", s.Name, word),
		checkBase("mirror", s.Mirror),
		match("inrelease_sha256", s.InReleaseSHA256, hexSHA256),
		checkTime("date", s.Date),
	}
	if s.Snapshot != "" {
		errs = append(errs, checkBase("snapshot", s.Snapshot))
	}
	if s.SnapshotFiles != "" {
		errs = append(errs, checkBase("snapshot_files", s.SnapshotFiles))
	}
	if s.ValidUntil != "" {
		errs = append(errs, checkTime("valid_until", s.ValidUntil))
	}
	if len(s.Signers) == 0 {
		errs = append(errs, errors.New("no signers"))
	}
	for _, f := range s.Signers {
		errs = append(errs, match("signers", f, fingerprint))
	}
	for _, x := range s.Indexes {
		errs = append(errs, checkPath("index path", x.Path), match("index sha256", x.SHA256, hexSHA256))
	}
	return errors.Join(errs...)
}

func (a Artefact) validate(suites map[string]bool) error {
	errs := []error{
		match("name", a.Name, word),
		match("version", a.Version, word),
		match("arch", a.Arch, word),
		match("sha256", a.SHA256, hexSHA256),
		match("sha1", a.SHA1, hexSHA1),
		match("licence", a.Licence, text),
	}
	if !slices.Contains([]Kind{Deb, Wheel, Archive, File}, a.Kind) {
		errs = append(errs, fmt.Errorf("kind %q, want deb, wheel, archive or file", a.Kind))
	}
	if a.Size <= 0 || a.Size > maxArtefactSize {
		errs = append(errs, fmt.Errorf("size %d, want 1..%d", a.Size, int64(maxArtefactSize)))
	}
	switch {
	case a.Suite == "" && a.Path != "":
		errs = append(errs, fmt.Errorf("path %q without a suite", a.Path))
	case a.Suite != "" && !suites[a.Suite]:
		errs = append(errs, fmt.Errorf("suite %q is not declared", a.Suite))
	case a.Suite != "":
		errs = append(errs, checkPath("path", a.Path))
	case len(a.URLs) == 0 && a.Kind != Wheel: // a package index says where a wheel is, by its hash
		errs = append(errs, errors.New("no suite and no urls: nowhere to fetch it from"))
	}
	for _, u := range a.URLs {
		errs = append(errs, checkURL("urls", u))
	}
	if len(a.Groups) == 0 {
		errs = append(errs, errors.New("no groups: nothing uses it"))
	}
	for _, g := range a.Groups {
		errs = append(errs, match("groups", g, group))
	}
	return errors.Join(errs...)
}

func match(key, value string, want *regexp.Regexp) error {
	if len(value) > maxText || !want.MatchString(value) {
		return fmt.Errorf("%s = %q, want the form %s", key, clip(value), want)
	}
	return nil
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}

func checkTime(key, value string) error {
	t, err := time.Parse(time.RFC3339, value)
	if err != nil || t.UTC().Format(time.RFC3339) != value {
		return fmt.Errorf("%s = %q, want a UTC time like 2026-01-02T03:04:05Z", key, clip(value))
	}
	return nil
}

// checkPath accepts relative, clean paths below a base URL.
func checkPath(key, value string) error {
	if err := match(key, value, text); err != nil {
		return err
	}
	if value == "" || path.IsAbs(value) || path.Clean(value) != value || value == "." || strings.HasPrefix(value, "..") {
		return fmt.Errorf("%s = %q, want a clean relative path", key, value)
	}
	return nil
}

func checkBase(key, value string) error {
	if strings.HasSuffix(value, "/") {
		return fmt.Errorf("%s = %q, want no slash at the end", key, clip(value))
	}
	return checkURL(key, value)
}

// checkURL accepts absolute http and https addresses without credentials or fragment.
func checkURL(key, value string) error {
	if err := match(key, value, text); err != nil {
		return err
	}
	u, err := url.Parse(value)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("%s = %q, want an http or https URL without user or fragment", key, value)
	}
	return nil
}
