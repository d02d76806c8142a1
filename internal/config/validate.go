package config

import "time"

// required notes what must be given and was not.
func (p *parser) required() {
	for _, k := range Keys {
		if _, given := p.from[k.Name]; k.Required && !given && !p.unreadable {
			p.missing(k, "is not given")
		}
	}
}

func (p *parser) missing(k Key, problem string) {
	p.faults = append(p.faults, &Fault{Key: k.Name, Problem: problem,
		Allowed: "--" + k.Name + ", input " + k.Name + ", environment variable " + k.Env() + ", or key " + k.Name + " in the config file"})
}

// together notes what is right one by one and wrong together.
func (p *parser) together() {
	manifest, byManifest := p.from["manifest"]
	image, byImage := p.from["image"]
	switch {
	case !byManifest && !byImage && p.unreadable:
	case !byManifest && !byImage:
		p.missing(Keys[0], "is not given (nor is manifest)")
	case byManifest && byImage:
		p.fault(manifest, "is given together with image ("+image.origin+")", "one of them")
	}
	if byManifest {
		p.withManifest()
	}
	p.inTime()
}

// withManifest notes what the manifest says already.
func (p *parser) withManifest() {
	for _, name := range []string{"container", "gray-args", "gray-env", "production-args", "production-env"} {
		if v, ok := p.from[name]; ok {
			p.fault(v, "is given together with manifest, which is the whole pod template", "either manifest, or image with parameters")
		}
	}
}

// inTime notes an upgrade that cannot end in time even if every step takes no longer than it must.
func (p *parser) inTime() {
	c := p.config
	least := time.Duration(len(c.Steps)) * c.StepDuration
	if c.Timeout == 0 || least < c.Timeout {
		return
	}
	v, ok := p.from["timeout"]
	if !ok {
		v = p.from["step-duration"]
	}
	p.fault(v, itoa(len(c.Steps))+" steps of "+clock(c.StepDuration)+" take at least "+clock(least)+", and timeout is "+clock(c.Timeout),
		"a timeout well above the sum of the steps")
}
