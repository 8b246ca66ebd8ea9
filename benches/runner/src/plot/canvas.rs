use std::fmt::Write;

/// An SVG being drawn. Colours are classes, so that a dark page can have its own.
pub(super) struct Canvas {
    body: String,
    width: f64,
    height: f64,
}

#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

const STYLE: &str = "
    text { font: 12px system-ui, sans-serif; fill: #333 } .title { font-weight: 600 } .small { font-size: 11px }
    .grid { stroke: #ddd } .axis { stroke: #888 } .bar { fill: #a9b4c2 } .own { fill: #d9480f }
    polyline { fill: none; stroke-width: 1.5 } .own-line { stroke: #d9480f; stroke-width: 3 }
    .raw-line { stroke: #555; stroke-dasharray: 5 4 } .own-text { fill: #d9480f; font-weight: 600 }
    @media (prefers-color-scheme: dark) {
        text { fill: #ccc } .grid { stroke: #3a3a3a } .bar { fill: #66717f } .own, .own-text { fill: #ff8a4c }
        .own-line { stroke: #ff8a4c } .raw-line { stroke: #bbb }
    }";

impl Canvas {
    pub(super) fn new(width: f64, height: f64) -> Self {
        Self {
            body: String::new(),
            width,
            height,
        }
    }

    pub(super) fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        self.element(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" class="{class}">{text}</text>"#
        ));
    }

    pub(super) fn line(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64), class: &str) {
        self.element(format_args!(
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" class="{class}"/>"#
        ));
    }

    pub(super) fn rectangle(
        &mut self,
        (x, y): (f64, f64),
        (width, height): (f64, f64),
        class: &str,
    ) {
        self.element(format_args!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" class="{class}"/>"#
        ));
    }

    pub(super) fn polyline(&mut self, points: &[(f64, f64)], paint: &str) {
        let points: Vec<_> = points
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        self.element(format_args!(
            r#"<polyline points="{}" {paint}/>"#,
            points.join(" ")
        ));
    }

    fn element(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.body, "  {element}");
    }

    pub(super) fn finish(self) -> String {
        let Self {
            body,
            width,
            height,
        } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\">\n  <style>{STYLE}\n  </style>\n{body}</svg>\n"
        )
    }
}
