//! A page of plots of what comparisons found.

use std::collections::BTreeSet;
use std::fmt::Write;

use plotters::prelude::*;

use crate::figures::{Cell, Figures, Report, Workload};

/// Pixels.
const SIZE: (u32, u32) = (620, 360);

/// What can be plotted over the number of threads.
struct Quantity {
    title: &'static str,
    unit: &'static str,
    of: fn(&Figures) -> Option<f64>,
}

const QUANTITIES: [Quantity; 7] = [
    Quantity { title: "Throughput", unit: "records/s", of: |f| Some(f.records_per_second) },
    Quantity { title: "Throughput, of the floor", unit: "%", of: |f| Some(f.of_floor * 100.0) },
    Quantity { title: "Median latency", unit: "us", of: |f| timed(f, f.latency_us.p50) },
    Quantity { title: "Latency, 99 %", unit: "us", of: |f| timed(f, f.latency_us.p99) },
    Quantity { title: "Latency, 99.9 %", unit: "us", of: |f| timed(f, f.latency_us.p999) },
    Quantity { title: "Records per sync", unit: "records", of: |f| f.records_per_sync },
    Quantity { title: "Processor time", unit: "us/record", of: |f| Some(f.cpu_us_per_record) },
];

/// A time, unless none was taken.
fn timed(figures: &Figures, time: f64) -> Option<f64> {
    (figures.latency_us.max > 0.0).then_some(time)
}

const COLOURS: [RGBColor; 10] = [
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0xd6, 0x27, 0x28),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0xff, 0x7f, 0x0e),
    RGBColor(0x94, 0x67, 0xbd),
    RGBColor(0x8c, 0x56, 0x4b),
    RGBColor(0xe3, 0x77, 0xc2),
    RGBColor(0x7f, 0x7f, 0x7f),
    RGBColor(0xbc, 0xbd, 0x22),
    RGBColor(0x17, 0xbe, 0xcf),
];

/// One HTML page that needs nothing else: plots of each workload and record size by number of threads, and all
/// figures in tables.
///
/// # Errors
///
/// What a plot could not be drawn for.
pub fn page(report: &Report) -> Result<String, String> {
    let mut html = String::from(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <title>Comparisons of logs</title>\n<style>body { font-family: sans-serif; margin: 2em; } \
         table { border-collapse: collapse; } td, th { padding: 0.2em 0.8em; text-align: right; \
         border-bottom: 1px solid #ccc; } td:nth-child(3), th:nth-child(3) { text-align: left; } \
         dt { float: left; clear: left; width: 7em; color: #666; } dd { margin-left: 7em; }\
         </style></head><body>\n<h1>Comparisons of logs</h1>\n<dl>",
    );
    for (name, value) in &report.machine {
        let _ = writeln!(html, "<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(value));
    }
    html.push_str("</dl>\n<p>All contenders of a plot took turns in one run.</p>\n");
    let keys: BTreeSet<_> = report.cells.iter().map(key).collect();
    let mut last = None;
    for now in keys {
        let cells: Vec<_> = report.cells.iter().filter(|cell| key(cell) == now).collect();
        let (workload, guarantee, bytes) = now;
        if last.replace(workload) != Some(workload) {
            let (title, about) = (workload.title(), workload.about());
            let _ = write!(html, "<h2>{title}</h2>\n<p>{about}</p>");
        }
        let guarantee = escaped(guarantee);
        let promise = match workload {
            Workload::Recovery => guarantee,
            _ => format!("Each append has survived when it returns: {guarantee}."),
        };
        let _ = write!(html, "<h3>Records of {bytes} bytes</h3>\n<p>{promise}</p>");
        for quantity in &QUANTITIES {
            if let Some(svg) = plot(&cells, quantity).map_err(|error| error.to_string())? {
                html.push_str(&svg);
            }
        }
        html.push_str(&table(&cells));
    }
    html.push_str("</body></html>\n");
    Ok(html)
}

/// What is plotted together.
fn key(cell: &Cell) -> (Workload, &str, usize) {
    (cell.workload, &cell.guarantee, cell.bytes)
}

/// One plot, unless there is nothing to show.
fn plot(
    cells: &[&Cell],
    quantity: &Quantity,
) -> Result<Option<String>, Box<dyn std::error::Error>> {
    let threads: BTreeSet<usize> = cells.iter().map(|cell| cell.threads).collect();
    let threads: Vec<usize> = threads.into_iter().collect();
    let mut names: Vec<&str> = Vec::new();
    for figures in cells.iter().flat_map(|cell| &cell.figures) {
        if !names.contains(&&*figures.name) {
            names.push(&figures.name);
        }
    }
    let points = |name: &str| -> Vec<(f64, f64)> {
        let found = cells.iter().filter_map(|cell| {
            let place = threads.iter().position(|&count| count == cell.threads)?;
            let figures = cell.figures.iter().find(|figures| figures.name == name)?;
            Some((place as f64, (quantity.of)(figures).filter(|value| value.is_finite())?))
        });
        let mut points: Vec<_> = found.collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    };
    let series: Vec<_> = names.iter().map(|name| (name, points(name))).collect();
    let values = series.iter().flat_map(|(_, points)| points.iter().map(|point| point.1));
    let Some(most) = values.reduce(f64::max) else { return Ok(None) };
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let right = threads.len() as f64 - 0.7;
        let mut chart = ChartBuilder::on(&area)
            .caption(quantity.title, ("sans-serif", 16))
            .margin(10)
            .x_label_area_size(36)
            .y_label_area_size(70)
            .build_cartesian_2d(-0.3..right, 0.0..(most * 1.05).max(f64::MIN_POSITIVE))?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .max_light_lines(1)
            .x_labels(threads.len() * 2 + 1)
            .x_label_formatter(&|place| label(&threads, *place))
            .x_desc("threads")
            .y_desc(quantity.unit)
            .draw()?;
        // The same colour for a contender in every plot.
        let series = series.into_iter().zip(COLOURS.iter().cycle());
        for ((name, points), colour) in series.filter(|((_, points), _)| !points.is_empty()) {
            let line = LineSeries::new(points, colour.stroke_width(2)).point_size(3);
            chart
                .draw_series(line)?
                .label(*name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], *colour));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .draw()?;
        area.present()?;
    }
    Ok(Some(svg))
}

/// The number of threads at a whole `place` of the axis.
fn label(threads: &[usize], place: f64) -> String {
    let whole = (place - place.round()).abs() < 1e-6 && place > -0.5;
    let count = if whole { threads.get(place.round() as usize) } else { None };
    count.map_or_else(String::new, ToString::to_string)
}

fn table(cells: &[&Cell]) -> String {
    let mut html = String::from(
        "<table><tr><th>threads</th><th>bytes</th><th>contender</th><th>records/s</th>\
         <th>of the floor</th><th>mean us</th><th>p50</th><th>p99</th><th>p99.9</th><th>max</th>\
         <th>records/sync</th><th>bytes written</th><th>CPU us</th><th>undisturbed rounds</th></tr>\n",
    );
    let some = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "&ndash;".to_owned(), |value| format!("{value:.digits$}"))
    };
    for cell in cells {
        for figures in &cell.figures {
            let times = figures.latency_us;
            let _ = writeln!(
                html,
                "<tr><td>{}</td><td>{}</td><td>{}</td><td>{:.0}</td><td>{:.2}</td><td>{:.0}</td>\
                 <td>{:.0}</td><td>{:.0}</td><td>{:.0}</td><td>{:.0}</td><td>{}</td><td>{}</td>\
                 <td>{:.1}</td><td>{} of {}</td></tr>",
                cell.threads,
                cell.bytes,
                escaped(&figures.name),
                figures.records_per_second,
                figures.of_floor,
                times.mean,
                times.p50,
                times.p99,
                times.p999,
                times.max,
                some(figures.records_per_sync, 1),
                some(figures.written_per_record, 0),
                figures.cpu_us_per_record,
                figures.quiet,
                figures.rounds,
            );
        }
    }
    html.push_str("</table>\n");
    html
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
