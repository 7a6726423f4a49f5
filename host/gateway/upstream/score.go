package upstream

import (
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"time"

	"cocoon/host/gateway/kept"
	"cocoon/measure/strictjson"
)

const (
	// openAfter failures in a row make a proxy the last choice for openFor.
	openAfter, openFor = 3, 30 * time.Second
	// weight is how much the newest sample counts.
	weight = 0.2
	// newcomer is the latency that a proxy without a record is taken to have, in seconds.
	newcomer = 0.5
	// halfLife is how fast what was seen of a proxy fades, so that one that was bad is tried again.
	halfLife = 10 * time.Minute

	scoreSchema = "cocoon.gateway.scores/1"
	// maxScores and maxScoreFile bound the file of records; a record has about 150 bytes.
	maxScores, maxScoreFile = 4096, 1 << 20
	saveEvery               = 10 * time.Second
)

// score is the record of one proxy (protocol.md section 10.2, e).
type score struct {
	Requests int64 `json:"requests"`
	Failures int64 `json:"failures"`
	// Latency is the moving average of the time to the first byte in seconds, Success that of answers, 0 to 1.
	Latency float64 `json:"latency_s"`
	Success float64 `json:"success"`
	// At is when the last request ended.
	At time.Time `json:"at"`

	row       int
	openUntil time.Time
}

// faded is how much of what was seen still counts at a time.
func (s *score) faded(now time.Time) float64 {
	return math.Exp2(-max(now.Sub(s.At), 0).Hours() / halfLife.Hours())
}

// value is expected latency over success; lower wins.
func (s *score) value(now time.Time) float64 {
	if s.Requests == 0 {
		return newcomer
	}
	keep := s.faded(now)
	latency := newcomer + keep*(s.Latency-newcomer)
	success := 1 - keep*(1-s.Success)
	return (latency + 0.05) / max(success, 0.05)
}

// note adds a sample: whether the proxy failed the request, and how long its first byte took; 0 when none came. A request that
// was refused, or that its app left, says nothing of how fast answers are: else who refuses at once would be asked first.
func (s *score) note(now time.Time, failed bool, first time.Duration) {
	if s.Requests == 0 {
		s.Latency, s.Success = newcomer, 1
	}
	s.Requests++
	s.At = now
	if failed {
		s.Failures++
		s.Success *= 1 - weight
		if s.row++; s.row >= openAfter {
			s.openUntil = now.Add(openFor)
		}
		return
	}
	s.row, s.openUntil = 0, time.Time{}
	s.Success += weight * (1 - s.Success)
	if first > 0 {
		s.Latency += weight * (first.Seconds() - s.Latency)
	}
}

// Report notes how a request went: whether the proxy failed it, and how long its first byte took; 0 when none came.
func (l *Link) Report(failed bool, first time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.score.note(l.cfg.Now(), failed, first)
}

// Rest makes the link the last choice for a while: the proxy said that it does not serve.
func (l *Link) Rest() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.score.openUntil = l.cfg.Now().Add(openFor)
}

func (l *Link) record() score {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.score
}

// scoreFile is the file of records.
type scoreFile struct {
	Schema  string           `json:"schema"`
	Proxies map[string]score `json:"proxies"`
}

func parseScores(data []byte) (map[string]score, error) {
	var file scoreFile
	if len(data) > maxScoreFile {
		return nil, fmt.Errorf("over %d bytes", maxScoreFile)
	}
	if err := strictjson.Decode(data, &file); err != nil {
		return nil, err
	}
	if file.Schema != scoreSchema || len(file.Proxies) > maxScores {
		return nil, fmt.Errorf("schema %.40q with %d records; want %s with at most %d", file.Schema, len(file.Proxies), scoreSchema, maxScores)
	}
	for name, s := range file.Proxies {
		if s.Requests < 1 || s.Failures < 0 || s.Failures > s.Requests || s.Success < 0 || s.Success > 1 || s.Latency < 0 || s.Latency > time.Hour.Seconds() {
			return nil, fmt.Errorf("the record of %.80q is out of its bounds", name)
		}
	}
	return file.Proxies, nil
}

// recall reads the records of the last run.
func (p *Pool) recall() error {
	if p.cfg.ScoreFile == "" {
		return nil
	}
	data, err := kept.Read(p.cfg.ScoreFile, maxScoreFile)
	switch {
	case err != nil:
		return fmt.Errorf("reading records of proxies: %w", err)
	case data == nil:
		return nil
	}
	past, err := parseScores(data)
	if err != nil {
		return fmt.Errorf("reading records of proxies %s: %w", p.cfg.ScoreFile, err)
	}
	p.past = past
	return nil
}

// records are those of all proxies that were ever asked; the oldest are left out when there are too many.
func (p *Pool) records() map[string]score {
	p.mu.Lock()
	out := make(map[string]score, len(p.past)+len(p.links))
	maps.Copy(out, p.past)
	links := p.links
	p.mu.Unlock()
	for _, l := range links {
		out[l.address] = l.record()
	}
	names := make([]string, 0, len(out))
	for name, s := range out {
		if s.Requests == 0 {
			delete(out, name)
			continue
		}
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return out[a].At.Compare(out[b].At) })
	for _, name := range names[:max(len(names)-maxScores, 0)] {
		delete(out, name)
	}
	return out
}

func (p *Pool) save() error {
	if p.cfg.ScoreFile == "" {
		return nil
	}
	if err := kept.Write(p.cfg.ScoreFile, scoreFile{scoreSchema, p.records()}); err != nil {
		return fmt.Errorf("writing records of proxies: %w", err)
	}
	return nil
}

// keep saves the records; what cannot be kept is only experience.
func (p *Pool) keep() {
	if err := p.save(); err != nil {
		p.cfg.Log.Warn("Records of proxies cannot be kept", slog.Any("err", err))
	}
}
