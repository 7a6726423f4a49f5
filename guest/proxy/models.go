package proxy

import (
	"maps"
	"slices"

	"cocoon/contracts/wire/tl"
	"cocoon/guest/proxy/sched"
)

// byModel groups the workers that can be chosen by the base name of their model.
func (p *Proxy) byModel() map[string][]sched.View {
	views, _ := p.sched.Snapshot()
	out := make(map[string][]sched.View)
	for _, v := range views {
		if v.Enabled {
			name := base(v.Spec.Model)
			out[name] = append(out[name], v)
		}
	}
	return out
}

// workerTypesV2 lists every worker of every model.
func (p *Proxy) workerTypesV2() *tl.ClientWorkerTypesV2 {
	models := p.byModel()
	out := &tl.ClientWorkerTypesV2{}
	for _, name := range slices.Sorted(maps.Keys(models)) {
		t := tl.ClientWorkerTypeV2{Name: name}
		for _, v := range models[name] {
			t.Workers = append(t.Workers, tl.ClientWorkerInstanceV2{
				Coefficient: int32(v.Spec.Coefficient), ActiveRequests: int32(v.Running), MaxActiveRequests: int32(v.Spec.Slots), //nolint:gosec // bounded at the edge
			})
		}
		out.Types = append(out.Types, t)
	}
	return out
}

// workerTypes is the older form: numbers and the spread of prices.
func (p *Proxy) workerTypes() *tl.ClientWorkerTypes {
	models := p.byModel()
	out := &tl.ClientWorkerTypes{}
	for _, name := range slices.Sorted(maps.Keys(models)) {
		prices := make([]int32, 0, len(models[name]))
		for _, v := range models[name] {
			prices = append(prices, int32(v.Spec.Coefficient)) //nolint:gosec // bounded at the edge
		}
		slices.Sort(prices)
		out.Types = append(out.Types, tl.ClientWorkerType{
			Name: name, ActiveWorkers: int32(len(prices)), CoefficientMin: prices[0], //nolint:gosec // bounded by connections
			CoefficientBucket50: prices[len(prices)/2], CoefficientMax: prices[len(prices)-1],
		})
	}
	return out
}
