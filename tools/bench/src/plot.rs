//! Pictures of the results.

use crate::Outcome;
use crate::growth::Curve;
use crate::report::{Report, Table};
use plotters::prelude::*;
use std::path::Path;

const SIZE: (u32, u32) = (720, 300);
const COLOURS: [RGBColor; 3] =
    [RGBColor(130, 140, 150), RGBColor(20, 100, 190), RGBColor(200, 120, 40)];

pub(crate) fn all(report: &Report, out: &Path) -> Outcome {
    let mut files = files(report).into_iter().map(|(_, file)| out.join(file));
    for table in &report.tables {
        if let (Some((figure, _)), Some(file)) = (table.goals.first(), files.next()) {
            bars(table, figure, &file)?;
        }
    }
    for (curve, file) in report.curves.iter().zip(files) {
        line(curve, &file)?;
    }
    Ok(())
}

/// What each picture shows, and its file.
pub(crate) fn files(report: &Report) -> Vec<(&'static str, String)> {
    let work = report.tables.iter().enumerate();
    let work = work.map(|(nth, table)| (table.name, format!("work-{}.svg", nth + 1)));
    let growth = report.curves.iter().enumerate();
    work.chain(growth.map(|(nth, it)| (it.name, format!("growth-{}.svg", nth + 1)))).collect()
}

/// A bar for each server, as a ratio to the bare one, with its spread.
fn bars(table: &Table, figure: &str, file: &Path) -> Outcome {
    let rows: Vec<_> = table
        .rows
        .iter()
        .filter_map(|(peer, _)| Some((*peer, table.summary(peer, figure)?.ratio)))
        .collect();
    let greatest = rows.iter().map(|(_, ratio)| ratio[2]).fold(1.0, f64::max);
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let caption = format!("{}: {figure}, to the bare server", table.name);
    let mut chart = ChartBuilder::on(&root)
        .caption(caption, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(110)
        .build_cartesian_2d(0.0..greatest * 1.05, 0..rows.len() as i32)?;
    let name = |place: &i32| {
        let row = (rows.len() as i32 - 1 - place) as usize;
        rows.get(row).map_or_else(String::new, |(peer, _)| (*peer).to_owned())
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(rows.len())
        .y_label_offset(-10)
        .y_label_formatter(&name)
        .draw()?;
    for (row, (peer, [ratio, least, most])) in rows.iter().enumerate() {
        let place = (rows.len() - 1 - row) as i32;
        let colour = COLOURS[if peer.starts_with("bare") {
            0
        } else if peer.starts_with("ours") {
            1
        } else {
            2
        }];
        let mut bar = Rectangle::new([(0.0, place), (*ratio, place + 1)], colour.filled());
        bar.set_margin(4, 4, 0, 0);
        let at = chart.backend_coord(&(0.0, place)).1 - chart.backend_coord(&(0.0, place + 1)).1;
        let middle = chart.backend_coord(&(0.0, place)).1 - at / 2;
        let ends = [*least, *most].map(|x| (chart.backend_coord(&(x, place)).0, middle));
        chart.draw_series([bar])?;
        root.draw(&PathElement::new(ends.to_vec(), BLACK.stroke_width(2)))?;
    }
    root.present()?;
    Ok(())
}

/// A curve on logarithmic axes.
fn line(curve: &Curve, file: &Path) -> Outcome {
    let ends = |values: &dyn Fn(&(f64, f64)) -> f64| {
        let values = || curve.points.iter().map(values);
        values().fold(f64::INFINITY, f64::min) / 1.5..values().fold(0.0, f64::max) * 1.5
    };
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(curve.name, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(60)
        .build_cartesian_2d(
            ends(&|point| point.0).log_scale(),
            ends(&|point| point.1).log_scale(),
        )?;
    chart.configure_mesh().draw()?;
    chart.draw_series([PathElement::new(curve.points.clone(), COLOURS[1].stroke_width(2))])?;
    chart.draw_series(
        curve.points.iter().map(|point| Circle::new(*point, 3, COLOURS[1].filled())),
    )?;
    root.present()?;
    Ok(())
}
