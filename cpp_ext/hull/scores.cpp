// ER-Hull's score and simplex volumes.
#include "everface/hull/scores.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <mutex>
#include <stdexcept>

#include "everface/core/pool.hpp"
#include "everface/hull/small_qp.hpp"
#include "pool.hpp"

namespace everface::hull {

namespace {

// One thread's memory for the hull of one subset.
class Subset {
 public:
  Subset(const Pool& pool, std::int64_t b)
      : pool_(pool),
        b_(b),
        width_(padded(b)),
        gram_(static_cast<std::size_t>(b * width_ + kPad)),
        diagonal_(static_cast<std::size_t>(width_)),
        h_(static_cast<std::size_t>(width_)) {
    view_.m = b;
    view_.ld_gram = width_;
    view_.gram = gram_.get();
    view_.diagonal = diagonal_.get();
    if (b > kSmall) scratch_ = Aligned<double>(pool.prepared->kernels->scratch(view_), false);
  }

  void choose(const std::int64_t* subset) {
    subset_ = subset;
    const View& all = pool_.prepared->view;
    view_.radius2 = 0.0;
    view_.shift = all.shift;
    for (std::int64_t i = 0; i < b_; ++i) {
      const double* row = all.gram + subset[i] * all.ld_gram;
      for (std::int64_t j = 0; j < b_; ++j) gram_.get()[i * width_ + j] = row[subset[j]];
      diagonal_.get()[i] = row[subset[i]] - all.shift;
      view_.radius2 = std::max(view_.radius2, diagonal_.get()[i]);
    }
    for (std::int64_t i = b_; i < width_; ++i) diagonal_.get()[i] = 1.0;
    if (b_ > kSmall) return;
    int pick[kSmall];
    for (int i = 0; i < static_cast<int>(b_); ++i) pick[i] = i;
    small_factor(gram_.get(), static_cast<int>(width_), pick, static_cast<int>(b_), 2e-14 * (view_.radius2 + all.shift),
                 factor_);
    ones2_ = small_affine_ones(factor_, static_cast<int>(b_), ones_);
  }

  // A lower bound of distance(p): to the affine hull. Only for b <= kSmall.
  double bound(std::int64_t p) {
    const double norm2 = correlate(p);
    const double distance2 = small_affine_distance2(factor_, static_cast<int>(b_), ones_, ones2_, h_.get(), norm2,
                                                    pool_.prepared->view.shift);
    return std::sqrt(distance2) * pool_.prepared->unscale;
  }

  // Distance of pool item p to the hull, in the caller's units.
  double distance(std::int64_t p, double* weight) {
    const View& all = pool_.prepared->view;
    const double norm2 = correlate(p);
    double distance2 = 0.0;
    if (b_ <= kSmall && !weight) {
      distance2 = small_distance2(gram_.get(), static_cast<int>(width_), static_cast<int>(b_), factor_, h_.get(), norm2,
                                  all.shift);
    } else {
      pool_.prepared->kernels->gram_distances(view_, h_.get(), width_, &norm2, 1, scratch_.get(), &distance2, weight);
    }
    return std::sqrt(distance2) * pool_.prepared->unscale;
  }

  void need_weights() {
    if (!scratch_.get()) scratch_ = Aligned<double>(pool_.prepared->kernels->scratch(view_), false);
  }

 private:
  // h := inner products of p with the subset; returns |p|^2.
  double correlate(std::int64_t p) {
    const View& all = pool_.prepared->view;
    const double* row = all.gram + p * all.ld_gram;
    for (std::int64_t i = 0; i < b_; ++i) h_.get()[i] = row[subset_[i]] - all.shift;
    return row[p] - all.shift;
  }

  const Pool& pool_;
  std::int64_t b_, width_;
  const std::int64_t* subset_ = nullptr;
  Aligned<double> gram_, diagonal_, h_, scratch_;
  SmallFactor factor_{};
  double ones_[kSmall] = {}, ones2_ = 1.0;
  View view_;
};

// Mean over timestamps of the mean distance of their unselected items; a timestamp selected entirely counts with the
// mean spread of its items.
class Scorer {
 public:
  Scorer(const Pool& pool, std::int64_t b)
      : pool_(pool),
        b_(b),
        hull_(pool, b),
        chosen_(pool.group.size()),
        sum_(pool.group_size.size()),
        open_(sum_.size()) {}

  double score(const std::int64_t* subset) {
    return total(subset, [this](std::int64_t p) { return hull_.distance(p, nullptr); });
  }
  // No more than the score; only for b <= kSmall.
  double bound(const std::int64_t* subset) {
    return total(subset, [this](std::int64_t p) { return hull_.bound(p); });
  }

 private:
  template <class Distance>
  double total(const std::int64_t* subset, Distance distance) {
    std::fill(chosen_.begin(), chosen_.end(), 0);
    std::fill(sum_.begin(), sum_.end(), 0.0);
    open_ = pool_.group_size;
    for (std::int64_t i = 0; i < b_; ++i) {
      chosen_[static_cast<std::size_t>(subset[i])] = 1;
      --open_[group(subset[i])];
    }
    hull_.choose(subset);
    for (std::int64_t p = 0; p < pool_.size(); ++p) {
      const std::size_t g = group(p);
      if (open_[g] == 0) {
        sum_[g] += pool_.spread[static_cast<std::size_t>(p)];
      } else if (!chosen_[static_cast<std::size_t>(p)]) {
        sum_[g] += distance(p);
      }
    }
    double total = 0.0;
    for (std::size_t g = 0; g < sum_.size(); ++g) {
      total += sum_[g] / static_cast<double>(open_[g] ? open_[g] : pool_.group_size[g]);
    }
    return total / static_cast<double>(sum_.size());
  }

  std::size_t group(std::int64_t i) const { return static_cast<std::size_t>(pool_.group[static_cast<std::size_t>(i)]); }

  const Pool& pool_;
  std::int64_t b_;
  Subset hull_;
  std::vector<char> chosen_;
  std::vector<double> sum_;
  std::vector<std::int64_t> open_;
};

double log_volume(const Pool& pool, const std::int64_t* subset, std::int64_t b, std::vector<double>& work) {
  const std::int64_t k = b - 1;
  work.assign(static_cast<std::size_t>(k * k), 0.0);
  auto at = [&](std::int64_t i, std::int64_t j) -> double& { return work[static_cast<std::size_t>(i * k + j)]; };
  const std::int64_t o = subset[0];
  double total = 0.0;
  for (std::int64_t i = 0; i < k; ++i) {
    for (std::int64_t j = 0; j <= i; ++j) {
      const std::int64_t p = subset[i + 1], q = subset[j + 1];
      double value = pool.inner(p, q) - pool.inner(p, o) - pool.inner(q, o) + pool.inner(o, o);
      const double size = value;
      for (std::int64_t t = 0; t < j; ++t) value -= at(i, t) * at(j, t);
      if (i != j) {
        at(i, j) = value / at(j, j);
      } else if (value > 1e-14 * size) {
        at(i, i) = std::sqrt(value);
        total += std::log(at(i, i) * pool.prepared->unscale);
      } else {
        return -std::numeric_limits<double>::infinity();
      }
    }
  }
  return total;
}

// Waking threads takes longer than this much arithmetic.
int worth(int threads, std::int64_t c, std::int64_t n, std::int64_t b) { return c * n * b * b < 1000000 ? 1 : threads; }

// work(first, last) for chunks of 0..c-1, with one `make()` a thread.
template <class Make, class Work>
void share(std::int64_t c, std::int64_t chunk, int threads, Make make, Work work) {
  const std::int64_t chunks = (c + chunk - 1) / chunk;
  std::atomic<std::int64_t> next{0};
  together(static_cast<int>(std::min<std::int64_t>(threads, chunks)), [&](int) {
    auto mine = make();
    for (std::int64_t first; (first = next.fetch_add(1) * chunk) < c;) {
      for (std::int64_t i = first; i < std::min(first + chunk, c); ++i) work(mine, i);
    }
  });
}

}  // namespace

std::shared_ptr<const Pool> make_pool(const double* pool, std::int64_t n, std::int64_t d, std::int64_t ld,
                                      const std::int32_t* group, std::int32_t groups, const double* spread,
                                      int threads) {
  auto made = std::make_shared<Pool>();
  made->prepared = prepare<double>(pool, n, d, ld, 0.0, threads, Purpose::kGram, "");
  made->group.assign(group, group + n);
  made->groups = groups;
  made->spread.assign(spread, spread + n);
  made->group_size.assign(static_cast<std::size_t>(groups), 0);
  for (const std::int32_t g : made->group) {
    if (g < 0 || g >= groups) throw std::invalid_argument("groups: expected numbers from 0 to the number of groups");
    ++made->group_size[static_cast<std::size_t>(g)];
  }
  return made;
}

std::int64_t pool_size(const Pool& pool) { return pool.size(); }

void hull_scores(const Pool& pool, const std::int64_t* subsets, std::int64_t c, std::int64_t b, int threads,
                 double* score) {
  threads = worth(threads, c, pool.size(), b);
  share(
      c, b > kSmall ? 1 : 16, threads, [&] { return std::make_unique<Scorer>(pool, b); },
      [&](auto& scorer, std::int64_t i) { score[i] = scorer->score(subsets + i * b); });
}

Best best_subset(const Pool& pool, const std::int64_t* subsets, std::int64_t c, std::int64_t b, double bound,
                 int threads) {
  auto make = [&] { return std::make_unique<Scorer>(pool, b); };
  threads = worth(threads, c, pool.size(), b);
  std::vector<double> low(static_cast<std::size_t>(c), 0.0);
  if (b <= kSmall) {
    share(c, 16, threads, make,
          [&](auto& s, std::int64_t i) { low[static_cast<std::size_t>(i)] = s->bound(subsets + i * b); });
  }
  std::vector<std::int64_t> order;
  for (std::int64_t i = 0; i < c; ++i) {
    if (low[static_cast<std::size_t>(i)] <= bound) order.push_back(i);
  }
  auto lower = [&](std::int64_t x, std::int64_t y) {
    return low[static_cast<std::size_t>(x)] < low[static_cast<std::size_t>(y)];
  };
  std::stable_sort(order.begin(), order.end(), lower);
  Best best;
  best.score = bound;
  std::mutex guard;
  // Chunks of one: the bounds ascend, so that soon no thread finds anything left to score.
  share(static_cast<std::int64_t>(order.size()), 1, b > kSmall ? threads : std::min(threads, 4), make,
        [&](auto& s, std::int64_t i) {
          const std::int64_t row = order[static_cast<std::size_t>(i)];
          {
            const std::lock_guard<std::mutex> lock(guard);
            if (low[static_cast<std::size_t>(row)] > best.score) return;
          }
          const double score = s->score(subsets + row * b);
          const std::lock_guard<std::mutex> lock(guard);
          if (score < best.score || (score == best.score && best.row >= 0 && row < best.row)) best = {row, score};
        });
  return best;
}

void simplex_log_volumes(const Pool& pool, const std::int64_t* subsets, std::int64_t c, std::int64_t b, int threads,
                         double* out) {
  share(
      c, 16, threads, [] { return std::vector<double>(); },
      [&](std::vector<double>& work, std::int64_t i) { out[i] = log_volume(pool, subsets + i * b, b, work); });
}

void pool_distances(const Pool& pool, const std::int64_t* subset, std::int64_t b, int threads, double* distance,
                    double* weight) {
  share(
      pool.size(), 16, pool.size() * b > 4096 ? threads : 1,
      [&] {
        auto hull = std::make_unique<Subset>(pool, b);
        hull->need_weights();
        hull->choose(subset);
        return hull;
      },
      [&](auto& hull, std::int64_t p) { distance[p] = hull->distance(p, weight + p * b); });
}

}  // namespace everface::hull
