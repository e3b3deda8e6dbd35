package directory

import "github.com/countersign/countersign"

// takeIn puts the resources of catalogues into their systems, which may stand in
// other files: a catalogue is written by a program, and its system by people.
func (o *Organisation) takeIn(found *problems) {
	systems, names := map[string]*System{}, []string{}
	for i := range o.Systems {
		systems[o.Systems[i].Name] = &o.Systems[i]
		names = append(names, o.Systems[i].Name)
	}
	for _, catalogue := range o.Catalogues {
		system := systems[catalogue.System]
		if system == nil {
			if at, named := catalogue.spots["system"]; named && catalogue.System != "" {
				found.add(at, "there is no system %q that this catalogue could belong to%s", countersign.Clip(catalogue.System), didYouMean(catalogue.System, names))
			}
			continue
		}
		system.Resources = append(system.Resources, catalogue.Resource)
	}
	o.Catalogues = nil
}
