package gateway

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"cocoon/contracts/api"
	"cocoon/host/gateway/upstream"
)

// offered is a model with its workers at all proxies.
type offered struct {
	name      string
	instances []upstream.Instance
}

// merged is what all proxies that are ready offer, by name.
func (s *Server) merged() []offered {
	at := make(map[string]int)
	var out []offered
	for _, p := range s.cfg.Pool.Status() {
		if p.State != upstream.Ready {
			continue
		}
		for _, m := range p.Models {
			i, ok := at[m.Name]
			if !ok {
				i = len(out)
				at[m.Name] = i
				out = append(out, offered{name: m.Name})
			}
			out[i].instances = append(out[i].instances, m.Instances...)
		}
	}
	slices.SortFunc(out, func(a, b offered) int { return strings.Compare(a.name, b.name) })
	return out
}

// modelWorker is one worker, under the reference implementation's names.
type modelWorker struct {
	Coefficient int `json:"coefficient"`
	Running     int `json:"running_requests"`
	Max         int `json:"max_running_requests"`
}

// model is one row of /v1/models.
type model struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`

	CoefficientMin    int           `json:"coefficient_min,omitempty"`
	CoefficientMedian int           `json:"coefficient_median,omitempty"`
	CoefficientMax    int           `json:"coefficient_max,omitempty"`
	WorkersReady      int           `json:"workers_ready"`
	SlotsFree         int           `json:"slots_free"`
	ModelRoot         string        `json:"model_root,omitempty"`
	Workers           []modelWorker `json:"workers"`
}

// firstSeen remembers when a model was first offered, which is what created says.
type firstSeen struct {
	mu sync.Mutex
	at map[string]int64
}

func (f *firstSeen) of(name string, now int64) int64 {
	const most = 65536
	f.mu.Lock()
	defer f.mu.Unlock()
	if t, ok := f.at[name]; ok {
		return t
	}
	if len(f.at) < most {
		f.at[name] = now
	}
	return now
}

func (s *Server) models(all bool) []model {
	out := []model{}
	for _, o := range s.merged() {
		m := model{
			ID: o.name, Object: "model", Created: s.seen.of(o.name, s.cfg.Now().Unix()), OwnedBy: "cocoon", Workers: []modelWorker{},
			WorkersReady: len(o.instances),
		}
		if _, pin, ok := strings.Cut(o.name, "@"); ok {
			_, m.ModelRoot, _ = strings.Cut(pin, ":")
		}
		var prices []int
		for _, w := range o.instances {
			prices = append(prices, w.Coefficient)
			m.SlotsFree += max(w.Max-w.Running, 0)
			m.Workers = append(m.Workers, modelWorker(w))
		}
		if slices.Sort(prices); len(prices) > 0 {
			m.CoefficientMin, m.CoefficientMedian, m.CoefficientMax = prices[0], prices[len(prices)/2], prices[len(prices)-1]
		}
		if all || m.WorkersReady > 0 {
			out = append(out, m)
		}
	}
	return out
}

func (s *Server) listModels(w http.ResponseWriter, r *http.Request) {
	answer(w, struct {
		Object string  `json:"object"`
		Data   []model `json:"data"`
	}{"list", s.models(r.URL.Query().Get("all") == "1")})
}

func (s *Server) showModel(w http.ResponseWriter, _ *http.Request, id string) {
	all := s.models(true)
	i := slices.IndexFunc(all, func(m model) bool { return m.ID == id })
	if i < 0 {
		refuse(w, &api.Error{Code: api.ModelNotFound, Param: "model", Message: "no proxy offers this model; /v1/models lists what is served"})
		return
	}
	answer(w, all[i])
}

// answer writes a JSON document.
func answer(w http.ResponseWriter, doc any) {
	raw, err := json.Marshal(doc)
	if err != nil {
		refuse(w, err)
		return
	}
	answerRaw(w, raw)
}

func answerRaw(w http.ResponseWriter, raw []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(raw)))
	_, _ = w.Write(raw) //nolint:gosec // JSON, typed as such and nosniff; nobody is left when it does not succeed
}
