#include "width_stage.hpp"

#include "bliss/training/losses.hpp"

#include <torch/torch.h>

#include <cmath>
#include <limits>
#include <span>
#include <utility>

namespace bliss::training {
namespace {

constexpr int k_most_iterations = 60;
/// Of a search's terms and loss: it ends where they change by less.
constexpr double k_least_change = 1e-6;
constexpr std::int64_t k_sources_per_part = 1 << 16;

}  // namespace

void WidthStage::add(const Batch& batch) {
    const torch::NoGradGuard no_grad;
    std::vector<std::int64_t> tile, image;
    for (LabelledSource source : batch.labels.sources) {
        if (batch.labels.count.data_ptr<std::int64_t>()[source.tile] != 1) continue;
        tile.push_back(source.tile);
        image.push_back(source.image);
        source.tile = std::ssize(sources_);
        sources_.push_back(source);
    }
    if (tile.empty()) return;
    const at::Tensor tiles = network_->trunk(batch.features, batch.conditions).flatten(1, 2);
    const at::Tensor raw = network_->head(tiles, batch.context, batch.conditions);
    raw_.push_back(raw.flatten(0, 1).index_select(0, torch::tensor(tile)));
    ln_noise_.push_back(batch.conditions.ln_noise.index_select(0, torch::tensor(image)));
    if (std::ssize(sources_) >= k_sources_per_part) close_part();
}

void WidthStage::close_part() {
    if (sources_.empty()) return;
    kept_ += static_cast<double>(sources_.size());
    Part& part = parts_.emplace_back();
    part.raw = torch::cat(raw_).unsqueeze(1);
    part.conditions.ln_noise = torch::cat(ln_noise_);
    part.labels.count = torch::ones({std::ssize(sources_)}, torch::kLong);
    part.labels.sources = std::move(sources_);
    raw_.clear();
    ln_noise_.clear();
    sources_.clear();
}

WidthReport WidthStage::fit(const comm::Communicator& comm) {
    const auto summed = [&](std::vector<double> sums) {
        comm.all_reduce_sum(std::span<double>{sums});
        return sums;
    };
    WidthReport report;
    close_part();
    report.sources = summed({kept_})[0];
    at::Tensor terms = network_->width_terms();
    if (!terms.defined() || report.sources == 0) return report;
    // The mean of -ln q and its gradient at the present terms. All ranks.
    const auto evaluate = [&] {
        terms.mutable_grad().zero_();
        double loss = 0;
        for (const Part& part : parts_) {
            const DetectionLoss of_part = detection_loss(network_->posterior(part.raw, part.conditions), part.labels);
            const at::Tensor mean = (of_part.location + of_part.flux) / report.sources;
            mean.backward();
            loss += mean.item<double>();
        }
        const at::Tensor gradient = terms.mutable_grad().to(torch::kDouble).contiguous();
        std::vector<double> numbers(gradient.data_ptr<double>(), gradient.data_ptr<double>() + gradient.numel());
        numbers.push_back(loss);
        numbers = summed(std::move(numbers));
        loss = numbers.back();
        numbers.pop_back();
        terms.mutable_grad().copy_(torch::tensor(numbers, torch::kDouble).view(terms.sizes()));
        return loss;
    };
    // Rank 0's terms to all, and whether there is more to do.
    const auto share = [&](bool more) {
        const torch::NoGradGuard no_grad;
        std::vector<float> numbers(terms.data_ptr<float>(), terms.data_ptr<float>() + terms.numel());
        numbers.push_back(more ? 1 : 0);
        comm.broadcast(numbers);
        more = numbers.back() != 0;
        numbers.pop_back();
        terms.copy_(torch::tensor(numbers).view(terms.sizes()));
        return more;
    };
    // Rank 0 alone searches: on processors that round differently two searches could part, and wait for each other for ever.
    if (comm.rank() == 0) {
        at::Tensor best = terms.detach().clone();
        report.before = report.after = std::numeric_limits<double>::infinity();
        const auto closure = [&] {
            share(true);
            const double loss = evaluate();
            if (!std::isfinite(report.before)) report.before = loss;
            if (loss < report.after) {
                best.copy_(terms.detach());
                report.after = loss;
            }
            return torch::tensor(loss);
        };
        torch::optim::LBFGS optimizer{
            {terms},
            torch::optim::LBFGSOptions(1).max_iter(k_most_iterations).tolerance_change(k_least_change).line_search_fn("strong_wolfe")};
        optimizer.step(closure);
        // In single precision a search may stray where nothing is left to gain.
        const torch::NoGradGuard no_grad;
        terms.copy_(best);
        share(false);
    } else {
        while (share(false)) (void)evaluate();
    }
    std::vector<double> of_root{report.before, report.after};
    comm.broadcast(of_root);
    report.before = of_root[0];
    report.after = of_root[1];
    return report;
}

}  // namespace bliss::training
