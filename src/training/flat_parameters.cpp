#include "flat_parameters.hpp"

#include "bliss/comm/agree.hpp"
#include "bliss/core/check.hpp"
#include "bliss/tile/one_thread.hpp"
#include "bliss/training/muon.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <ranges>

namespace bliss::training {
namespace {

// Adam's usual constants (Kingma and Ba 2015).
constexpr float k_beta1 = 0.9f;
constexpr float k_beta2 = 0.999f;
constexpr float k_epsilon = 1e-8f;

// Muon's step of a weight matrix, root mean square against Adam's step of one, and the least side of a matrix it is used for:
// thin matrices (outputs, conditioning) have too few directions to even out.
constexpr double k_matrix_step = 0.5;
constexpr std::int64_t k_least_matrix_side = 48;

/// Numbers that one thread takes at once.
constexpr std::int64_t k_piece = 1 << 14;

/// A view of part of a block with the shape and the memory order of `like`.
at::Tensor view_like(const at::Tensor& block, std::int64_t offset, const at::Tensor& like) {
    return block.slice(0, offset, offset + like.numel()).as_strided(like.sizes(), like.strides(), offset);
}

/// Calls `work(piece, begin, end)` for pieces of 0 ... size - 1, each on one thread.
template <class Work>
void in_pieces(std::int64_t size, const Work& work) {
    tile::for_each_on_one_thread((size + k_piece - 1) / k_piece,
                                 [&](std::int64_t k) { work(k, k * k_piece, std::min(size, (k + 1) * k_piece)); });
}

/// The same for any number of threads.
double norm_of(const at::Tensor& gradients) {
    if (!gradients.is_cpu()) return std::sqrt(gradients.to(torch::kDouble).square().sum().item<double>());
    const float* const gradient = gradients.data_ptr<float>();
    std::vector<double> squares(static_cast<std::size_t>((gradients.numel() + k_piece - 1) / k_piece));
    in_pieces(gradients.numel(), [&](std::int64_t piece, std::int64_t begin, std::int64_t end) {
        double sum = 0;
        for (std::int64_t k = begin; k < end; ++k) sum += static_cast<double>(gradient[k]) * gradient[k];
        squares[static_cast<std::size_t>(piece)] = sum;
    });
    return std::sqrt(std::accumulate(squares.begin(), squares.end(), 0.0));
}

}  // namespace

FlatParameters::FlatParameters(torch::nn::Module& network, c10::Device device) {
    network.to(device);
    std::int64_t total = 0;
    for (const auto& parameter : network.parameters()) total += parameter.numel();
    for (at::Tensor* const block : {&values_, &first_moment_, &second_moment_, &update_})
        *block = torch::zeros({total}, torch::TensorOptions().device(device));
    std::int64_t offset = 0;
    const torch::NoGradGuard no_grad;
    for (auto& parameter : network.parameters()) {
        const at::Tensor view = view_like(values_, offset, parameter);
        view.copy_(parameter);
        parameter.set_data(view);
        const std::int64_t rows = parameter.size(0), cols = parameter.numel() / rows;
        if (std::min(rows, cols) >= k_least_matrix_side) matrices_.push_back({offset, rows, cols});
        offset += parameter.numel();
    }
    std::ranges::stable_sort(matrices_, std::ranges::greater{}, &Matrix::size);
    average_ = values_.clone();
}

at::Tensor FlatParameters::bind(torch::nn::Module& network) const {
    at::Tensor gradients = torch::zeros_like(values_);
    std::int64_t offset = 0;
    for (auto& parameter : network.parameters()) {
        parameter.set_data(view_like(values_, offset, parameter));
        parameter.mutable_grad() = view_like(gradients, offset, parameter);
        offset += parameter.numel();
    }
    BLISS_ENSURE(offset == size(), "a network of the same kind");
    return gradients;
}

std::vector<std::vector<FlatParameters::Matrix>> FlatParameters::shared_over(int ranks) const {
    std::vector<std::vector<Matrix>> shares(static_cast<std::size_t>(ranks));
    std::vector<double> work(shares.size());
    for (const Matrix& matrix : matrices_) {
        const auto least = static_cast<std::size_t>(std::ranges::min_element(work) - work.begin());
        shares[least].push_back(matrix);
        work[least] += static_cast<double>(matrix.size()) * static_cast<double>(std::min(matrix.rows, matrix.cols));
    }
    return shares;
}

double FlatParameters::step(const at::Tensor& gradients, double learning_rate, double norm_limit, double average_decay,
                            const comm::Communicator& comm) {
    BLISS_EXPECT(gradients.numel() == size() && gradients.device() == values_.device(), "a gradient for every value");
    double norm = norm_of(gradients);
    if (!gradients.is_cpu()) comm.broadcast(norm);  // GPUs of two kinds add it up in other orders
    if (!std::isfinite(norm)) return norm;
    ++step_;
    const Rates now = rates(norm, norm_limit, learning_rate, average_decay);
    take_in(gradients, now);
    orthogonalize(gradients, comm);
    move(now);
    return norm;
}

FlatParameters::Rates FlatParameters::rates(double norm, double norm_limit, double learning_rate, double average_decay) const {
    const auto steps = static_cast<double>(step_);
    // Early on the average follows the weights closely, so that it forgets the random start.
    const double decay = std::min(average_decay, (1 + steps) / (10 + steps));
    return {.gradient_scale = static_cast<float>(norm > norm_limit ? norm_limit / norm : 1),
            .correction1 = static_cast<float>(1 / (1 - std::pow(k_beta1, steps))),
            .correction2 = static_cast<float>(1 / (1 - std::pow(k_beta2, steps))),
            .learning_rate = static_cast<float>(learning_rate),
            .average_share = static_cast<float>(1 - decay)};
}

void FlatParameters::take_in(const at::Tensor& gradients, const Rates& rates) {
    if (!gradients.is_cpu()) {
        gradients.mul_(rates.gradient_scale);
        first_moment_.lerp_(gradients, 1 - k_beta1);
        second_moment_.mul_(k_beta2).addcmul_(gradients, gradients, 1 - k_beta2);
        torch::div_out(update_, first_moment_ * rates.correction1, (second_moment_ * rates.correction2).sqrt_().add_(k_epsilon));
        return;
    }
    float* const gradient = gradients.data_ptr<float>();
    float* const first = first_moment_.data_ptr<float>();
    float* const second = second_moment_.data_ptr<float>();
    float* const update = update_.data_ptr<float>();
    in_pieces(size(), [&](std::int64_t, std::int64_t begin, std::int64_t end) {
        for (std::int64_t k = begin; k < end; ++k) {
            const float g = gradient[k] *= rates.gradient_scale;
            first[k] += (1 - k_beta1) * (g - first[k]);
            second[k] = k_beta2 * second[k] + (1 - k_beta2) * g * g;
            update[k] = first[k] * rates.correction1 / (std::sqrt(second[k] * rates.correction2) + k_epsilon);
        }
    });
}

double FlatParameters::Matrix::step() const { return k_matrix_step * std::sqrt(static_cast<double>(std::max(rows, cols))); }

at::Tensor FlatParameters::part(const at::Tensor& block, const Matrix& matrix) {
    return block.slice(0, matrix.offset, matrix.offset + matrix.size()).view({matrix.rows, matrix.cols});
}

at::Tensor FlatParameters::direction(const at::Tensor& gradients, const Matrix& matrix) const {
    return torch::lerp(part(gradients, matrix), part(first_moment_, matrix), k_beta1);
}

void FlatParameters::orthogonalize(const at::Tensor& gradients, const comm::Communicator& comm) {
    if (!update_.is_cpu()) {
        orthogonalize_together(gradients, comm);
        return;
    }
    const std::vector<std::vector<Matrix>> shares = shared_over(comm.size());
    const std::vector<Matrix>& mine = shares[static_cast<std::size_t>(comm.rank())];
    tile::for_each_on_one_thread(std::ssize(mine), [&](std::int64_t k) {
        const Matrix& matrix = mine[static_cast<std::size_t>(k)];
        part(update_, matrix).copy_(orthogonalized(direction(gradients, matrix))).mul_(matrix.step());
    });
    if (comm.size() == 1) return;
    float* const at = update_.data_ptr<float>();
    std::vector<float> numbers;
    for (const Matrix& matrix : mine) numbers.insert(numbers.end(), at + matrix.offset, at + matrix.offset + matrix.size());
    numbers = comm.gather_v(numbers);
    auto from = numbers.begin();
    for (const Matrix& matrix : shares | std::views::join) {
        std::copy_n(from, matrix.size(), at + matrix.offset);
        from += matrix.size();
    }
}

void FlatParameters::orthogonalize_together(const at::Tensor& gradients, const comm::Communicator& comm) {
    std::vector<float> numbers;
    comm::agree_on(comm, [&] {
        if (comm.rank() != 0) return;
        std::vector<at::Tensor> directions;
        for (const Matrix& matrix : matrices_) directions.push_back(direction(gradients, matrix));
        const std::vector<at::Tensor> steps = orthogonalized_together(directions);
        for (std::size_t k = 0; k < steps.size(); ++k) part(update_, matrices_[k]).copy_(steps[k] * matrices_[k].step());
        if (comm.size() == 1) return;
        const at::Tensor host = update_.cpu();
        numbers.assign(host.data_ptr<float>(), host.data_ptr<float>() + host.numel());
    });
    if (comm.size() == 1) return;
    comm.broadcast(numbers);  // as rank 0 has it: GPUs of two kinds add up in other orders
    update_.copy_(torch::from_blob(numbers.data(), {std::ssize(numbers)}));
}

void FlatParameters::move(const Rates& rates) {
    if (!values_.is_cpu()) {
        values_.sub_(update_, rates.learning_rate);
        average_.lerp_(values_, rates.average_share);
        return;
    }
    const float* const update = update_.data_ptr<float>();
    float* const value = values_.data_ptr<float>();
    float* const average = average_.data_ptr<float>();
    in_pieces(size(), [&](std::int64_t, std::int64_t begin, std::int64_t end) {
        for (std::int64_t k = begin; k < end; ++k) {
            value[k] -= rates.learning_rate * update[k];
            average[k] += rates.average_share * (value[k] - average[k]);
        }
    });
}

void FlatParameters::swap_average() {
    const torch::NoGradGuard no_grad;
    const at::Tensor held = values_.clone();
    values_.copy_(average_);
    average_.copy_(held);
}

std::vector<std::pair<std::string, at::Tensor>> FlatParameters::state() const {
    return {{"values", values_}, {"average", average_}, {"first_moment", first_moment_}, {"second_moment", second_moment_}};
}

}  // namespace bliss::training
