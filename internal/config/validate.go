package config

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
	if limit, given := p.from["step-timeout"]; given && p.config.StepTimeout > 0 && p.config.StepTimeout < p.config.StepDuration {
		p.fault(limit, "is below step-duration", "0s, or at least "+p.config.StepDuration.String())
	}
}

// withManifest notes what the manifest says already.
func (p *parser) withManifest() {
	for _, name := range []string{"container", "gray-args", "gray-env", "production-args", "production-env"} {
		if v, ok := p.from[name]; ok {
			p.fault(v, "is given together with manifest, which is the whole pod template", "either manifest, or image with parameters")
		}
	}
}
